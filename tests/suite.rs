//! The one suite: it drives the `proofmark` binary as its users do.

mod build_room;
mod support;
