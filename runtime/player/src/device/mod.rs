//! The NVIDIA driver, opened at run time: nothing here needs CUDA to be built, and each library has a
//! probe that answers with a value where it is missing.
//!
//! | file | what it holds |
//! |---|---|
//! | `loader` | libraries that are opened at run time |
//! | [`readiness`] | whether a usable driver and GPU are there |
//! | [`error`] | what a failing driver call says |
//! | [`context`] | one GPU with its primary context and its facts |
//! | [`memory`] | device memory, and what of it another process maps |
//! | [`arena`] | addresses that are the same in every process |
//! | `interception` | a submission's memory, served from these addresses |
//! | `redirection` | functions of the driver, replaced by ours |
//! | `foreign_graph` | what a submission's graphs hold |
//! | `capture` | what a call puts on a stream |
//! | `captured_graph` | its nodes and edges, in order |
//! | `uncaptured` | why a call cannot be recorded |
//! | `loads` | machine code that is loaded at run time |
//! | `launch` | machine code, launched as recorded |
//! | `ready_graph` | work that is launched as one graph |
//! | [`host_window`] | host memory that the GPU reads and writes |
//! | [`stream`] | streams and timing events |
//! | [`instruments`] | the kernels of the judge and of the player's clocks |
//! | [`cupti`] | activity records: what really ran, and when |

pub mod arena;
pub(crate) mod capture;
mod captured_graph;
pub mod context;
pub mod cupti;
pub mod error;
pub(crate) mod foreign_graph;
pub mod host_window;
pub mod instruments;
pub(crate) mod interception;
pub(crate) mod launch;
pub(crate) mod loader;
pub(crate) mod loads;
pub mod memory;
pub mod readiness;
pub(crate) mod ready_graph;
pub(crate) mod redirection;
pub mod stream;
pub(crate) mod uncaptured;

pub use context::Gpu;
pub use error::DeviceError;
pub use readiness::{Readiness, probe};
