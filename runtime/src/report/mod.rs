//! Turns records into what people and programs read. Nothing here measures or decides.
//!
//! | file | what it holds |
//! |---|---|
//! | [`bench_table`] | the numbers of a run as a table |
//! | [`build`] | a build: proven, or why not |
//! | [`mod@entry`] | a Python entry: what it compiles, and what came of it |
//! | [`outcome`] | what came out of a job |
//! | [`kernel_table`] | what kernels use, and warnings |
//! | [`profile`] | what each kernel takes, by Nsight Compute |
//! | [`comparison_table`] | a comparison's report as text |
//! | [`board_score`] | SOL-ExecBench's score of a run |
//! | [`sparkline`] | a distribution as a line of bars |
//! | [`ledger_table`] | runs, entries and champions of a ledger |
//! | [`mod@history`] | means of runs over time, with a band of noise |
//! | [`mod@page`] | one HTML file |
//! | [`figures`] | how numbers are written |

pub mod build;
pub mod entry;
pub mod outcome;

pub mod bench_table;

pub mod board_score;

pub mod comparison_table;

pub mod figures;

pub mod kernel_table;

pub mod history;

pub mod ledger_table;

pub mod page;

pub mod profile;

pub mod sparkline;
