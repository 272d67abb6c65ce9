//! Rebuilds, proves, caches, measures, judges and replays GPU kernel submissions.

pub mod bench;
pub mod build;
pub mod cache;
pub mod cli;
pub mod device;
pub mod evidence;
pub mod interruption;
pub mod pipeline;
pub mod process_tree;
pub mod proof;
pub mod record;
pub mod replay;
pub mod report;
pub mod toolchain;
