//! Rebuilds, proves, caches, measures, judges and replays GPU kernel submissions.
//!
//! | phase | room |
//! |---|---|
//! | what is asked, and what came out | [`job`] |
//! | the whole line on one screen | [`pipeline`]; its first half, artifact → cache entry, is [`rebuild`] |
//! | artifact → what builds it | [`toolchain`]: find, install, fingerprint |
//! | → plan → output | [`build`]: planning is pure, one file runs the compiler |
//! | a Python entry → what it compiles when it runs | [`capture`] |
//! | → proof | [`proof`]: from bytes alone, a crate that is usable without the rest |
//! | → cache entry | [`cache`]: takes only what is proven, trusts nothing that it reads; [`shared_cache`]: what others built |
//! | → evidence, and back | [`evidence`] |
//! | who says it | [`signing`], [`attestation`] |
//! | code in Python | [`python`]: the interpreter, and what it is told to load |
//! | → recording | [`recording`]: what is launched, held against the proof |
//! | → measurement, verdict, decision | [`device`], [`mod@measure`] |
//! | → kernels under Nsight Compute | [`profile`] |
//! | → record, ledger, report | [`record`], [`ledger`], [`report`] |
//! | paths in documents, errors as one line, files that may be anything | [`path_text`], [`cause_text`], [`regular_file`] |
//! | what people type | [`cli`]: one verb a file |
//! | processes that must not outlive us, nor reach anything | [`process_tree`], [`interruption`], [`sandbox`] |
//! | a job on another machine, many jobs on many machines | [`remote`], [`fleet`] |
//!
//! Imports point one way: `cli` → `pipeline` → rooms → `packager`. Nothing up to the proof knows of the
//! device.

pub mod attestation;
pub mod build;
pub mod cache;
pub mod capture;
pub mod cause_text;
pub mod cli;
pub mod device;
pub mod evidence;
pub mod fleet;
pub mod interruption;
pub mod job;
pub mod ledger;
pub mod measure;
pub mod path_text;
pub mod pipeline;
pub mod process_tree;
pub mod profile;
pub mod python;
pub mod rebuild;
pub mod record;
pub mod recording;
pub mod regular_file;
pub mod remote;
pub mod report;
pub mod sandbox;
pub mod shared_cache;
pub mod signing;
pub mod toolchain;

pub use proofmark_proof as proof;
