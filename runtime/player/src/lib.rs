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
//! | `end` | how a conversation ended that should have gone on |
//! | `output` | what a player writes to its output and error streams |
//! | [`protocol`] | the messages between judge and player |
//! | [`wire`] | how a message travels |
//! | `foreign_text` | text of foreign code, made fit to be shown |
//! | [`shared`] | memory that both map: flags, and tensors where there is no device IPC |
//! | `inheritance` | what a player gets beside orders: the conversation and four descriptors |
//! | `callee` | the entry point and its bound arguments, compiled or in Python |
//! | [`mod@serve`] | the player's loop: receives orders, calls the kernel, answers |
//! | `serve_python` | where a player inside a Python interpreter begins |
//! | [`recording`] | what a call puts on the GPU, as a document |
//! | `recorder` | makes a recording, beside the foreign code |
//! | `stage` | launches a recording, without any foreign code of the host |
//! | [`clocks`] | the player's clocks on the GPU |
//! | [`confinement`] | what the player may no longer do |
//! | [`tvm_ffi`] | calling a compiled kernel without Python |
//! | [`python`] | a player inside a Python interpreter |
//! | [`dlpack`] | tensors as libraries pass them to each other |
//! | [`device`] | the driver: context, memory, streams, activity records, our own kernels |
//!
//! A player plays one of four parts ([`protocol::Role`]). *Live* calls the entry point and reads the clocks
//! beside it. The *recorder* calls it on inputs that nobody uses again, and says what it puts on the GPU. The
//! *builder* calls an entry point in Python while it may still start compilers. The *stage* loads proven images only and launches what was recorded.
//!
//! The judge owns every buffer. Where device memory can be shared by a descriptor, the player maps two of the
//! judge's blocks, inputs and outputs, and nothing is copied. Where it cannot, both map host memory and the
//! player keeps device copies of its own; the judge decides which by trying.
//!
//! # What the confinement is, and what it is not
//!
//! Foreign code runs with the rights of the user who measures, less these: it starts no process and no
//! program; it sends no signal and asks for none to be sent; it opens no socket; it makes, changes, empties,
//! locks and removes no file; it reads libraries, facts about the machine and its own `/proc` entries,
//! but no other files, and so neither the record nor the judge's command line; it has no capabilities, even
//! where root measures; it touches no other process's limits, priority, processors or memory; and it ends
//! with the judge. Its environment holds three fixed variables and `CUDA_VISIBLE_DEVICES`,
//! `CUDA_DEVICE_ORDER` and `LD_LIBRARY_PATH`; what injects NVIDIA's tools is kept out. On a kernel that
//! lacks a protection, the answer to loading says which, and the report repeats it.
//!
//! It is no boundary inside the process and none on the GPU. Foreign code shares the address space with the
//! player's loop, CUPTI and the driver: whatever the player says can be forged, times too. The driver's
//! interface stays open, because kernels need it: its faults, other users' processes on the GPU, and
//! device memory that the judge exports by guessable handles are out of reach of these rules, and so are
//! reading a hostile kernel's side channels, filling memory, and using up the processor. Threads that the
//! driver started before foreign code was loaded keep the wider files of [`confinement::Extent::Starting`]
//! on kernels before 7.0. Whoever measures strangers' code should do it under a user of its own, on a
//! machine that holds nothing else.
//!
//! A driver that needs a call which is not on the list fails in a way that looks like a fault of the
//! submission. `bench --show-refused-calls` writes every refused call's number to standard error.
//!
//! This crate is the workspace's home of unsafe code, beside the one file that maps files.
#![allow(unsafe_code)]
#![warn(clippy::undocumented_unsafe_blocks, clippy::multiple_unsafe_ops_per_block)]

mod callee;
pub mod clocks;
pub mod confinement;
pub mod device;
pub mod direct;
pub mod dlpack;
mod end;
mod foreign_text;
mod inheritance;
mod output;
pub mod process;
pub mod protocol;
pub mod python;
mod recorder;
pub mod recording;
pub mod serve;
mod serve_python;
pub mod shared;
mod stage;
pub mod tvm_ffi;
pub mod wire;

pub use confinement::Refusals;
pub use end::PlayerEnd;
pub use process::{Player, PlayerSpec};
pub use python::PythonProgram;
pub use serve::serve;
