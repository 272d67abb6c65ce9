//! Owns everything that a submission must not see: seeds, inputs, expected outputs, tolerances.
//!
//! | file | noun |
//! |---|---|
//! | [`philox`] | the counter-based generator |
//! | [`element`] | element types as bits |
//! | [`distribution`] | what random inputs look like |
//! | [`generator`] | the exact specification of an input's bytes |

pub mod philox;

pub mod element;

pub mod distribution;

pub mod generator;

pub use distribution::{Distribution, Profile};
pub use generator::{Form, Recipe, Stream};
