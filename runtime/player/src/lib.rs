//! Runs a foreign kernel in a confined process, and holds what of the driver that needs.
//!
//! The judge starts its own program again with a hidden verb, and that process calls [`serve()`]. It loads
//! the proven library and calls it when told to. It never sees expected outputs, the reference, or an
//! input before it is due; what it says is a claim that the judge checks. Everything here assumes that
//! the code that it loads may be hostile.
//!
//! | file | what it holds |
//! |---|---|
//! | [`process`] | the judge's end: starts a player, asks it, waits no longer than it said, ends it |
//! | [`protocol`] | the messages between judge and player |
//! | [`wire`] | how a message travels |
//! | [`shared`] | memory that both map: flags, and tensors where there is no device IPC |
//! | [`mod@serve`] | the player's loop: receives orders, calls the kernel, answers |
//! | [`clocks`] | the player's clocks on the GPU |
//! | [`confinement`] | what the player may no longer do once foreign code is loaded |
//! | [`tvm_ffi`] | calling a compiled kernel without Python |
//! | [`device`] | the driver: context, memory, streams, activity records, our own kernels |
//!
//! The judge owns every buffer. Where CUDA IPC works, the player maps two of the judge's blocks, inputs
//! and outputs, and nothing is copied. Where it does not, both map host memory and the player keeps
//! device copies of its own; the judge decides which by trying.
//!
//! This crate is the workspace's one home of unsafe code, beside the one file that maps files.
#![allow(unsafe_code)]

pub mod clocks;
pub mod confinement;
pub mod device;
pub mod process;
pub mod protocol;
pub mod serve;
pub mod shared;
pub mod tvm_ffi;
pub mod wire;

pub use process::{Player, PlayerEnd, PlayerSpec};
pub use serve::serve;
