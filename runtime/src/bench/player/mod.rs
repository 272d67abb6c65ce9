//! The player: a disposable child that runs foreign code and owns no secret.
//!
//! The judge starts the same binary again with the hidden verb `player`. The child loads the proven
//! library and calls it when told to. It never sees expected outputs, the reference, or an input
//! before it is due; what it says is a claim that the judge checks. Everything here assumes that the
//! code it loads may be hostile.
//!
//! | file | noun |
//! |---|---|
//! | [`protocol`] | the fixed-layout messages between judge and player |
//! | [`wire`] | how a message travels |
//! | [`shared`] | memory that both map: flags, and tensors where there is no device IPC |
//! | [`confinement`] | what the child may no longer do once foreign code is loaded |
//! | [`stage`] | the child: receives orders, calls the kernel, takes the times |
//! | [`clocks`] | the child's clocks on the GPU |
//! | [`child`] | the judge's end: starts, asks, waits no longer than it said, ends |
//!
//! **Who owns memory.** The judge owns every buffer. Where CUDA IPC works, the child maps two of the
//! judge's blocks, inputs and outputs, and nothing is copied. Where it does not, both map host memory
//! and the child keeps device copies of its own; the judge decides which by trying.
#![allow(unsafe_code)]

pub mod child;
pub mod clocks;
pub mod confinement;
pub mod protocol;
pub mod shared;
pub mod stage;
pub mod wire;

pub use child::{Player, PlayerEnd};
pub use stage::serve;
