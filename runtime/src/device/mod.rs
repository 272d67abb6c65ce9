//! The GPU and the ABI of compiled kernels: the one room, with the player's, that may be unsafe.
//!
//! Nothing before Measurement imports this room, and nothing here needs CUDA to be built: the driver,
//! NVML, CUPTI and the TVM-FFI library are opened at run time, each behind a probe of its own that
//! answers with a value instead of a panic.
//!
//! | file | noun |
//! |---|---|
//! | [`readiness`] | whether a usable driver and GPU are there |
//! | [`error`] | what a failing driver call says |
//! | [`context`] | one GPU with its primary context and its facts |
//! | [`memory`] | device memory, its IPC handles, pages shared with the host |
//! | [`stream`] | streams and timing events |
//! | [`instruments`] | the kernels of the judge and of the player's clocks |
//! | [`nvml`] | clocks, throttle reasons, power, temperature, other processes |
//! | [`cupti`] | activity records: what really ran, and when |
//! | [`tvm_ffi`] | calling a compiled kernel without Python |
//! | [`description`] | what `doctor` shows of all this |
#![allow(unsafe_code)]

pub mod context;
pub mod cupti;
pub mod description;
pub mod error;
pub mod instruments;
pub mod memory;
pub mod nvml;
pub mod readiness;
pub mod stream;
pub mod tvm_ffi;

pub use context::Gpu;
pub use description::{Description, describe};
pub use error::DeviceError;
pub use readiness::{Readiness, probe};
