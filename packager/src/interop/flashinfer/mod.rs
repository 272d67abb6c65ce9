//! FlashInfer-Bench: what the contest's tools read and write.

pub mod solution;
