//! Owns everything that a submission must not see.
