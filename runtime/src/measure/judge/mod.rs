//! Owns everything that a submission must not see: seeds, inputs, expected outputs, tolerances.
//!
//! | file | noun |
//! |---|---|
//! | [`philox`] | the counter-based generator |
//! | [`element`] | element types as bits |
//! | [`distribution`] | what random inputs look like |
//! | [`generator`] | the exact specification of an input's bytes |
//! | [`structure`] | inputs whose elements belong together |
//! | [`safetensors`] | captured inputs |
//! | [`scope`] | which operators the element-wise rule can judge |
//! | [`tolerance`] | how far an output may lie off, and whether it does |
//! | [`comparison`] | how far it really lies off |
//! | [`set`] | outputs whose rows are sets |
//! | [`mod@null_gate`] | whether a workload can tell a kernel from nothing |
//! | [`spread`] | how a tensor's elements lie in its place |
//! | [`layout`] | where the tensors of one call lie |
//! | [`source`] | where each input's contents come from |
//! | [`device`] | the judge's own GPU side |
//! | [`session`] | a player with its part |
//! | [`binding`] | how a call is described to it |
//! | [`trial`] | one workload: contents, expected outputs, checked calls |
//! | `custom` | inputs that the definition's own function makes |
//! | `strided` | the subject's tensors where they have gaps |
//! | `given` | what the subject is given for a call, and what it left |
//! | `check` | what a call left, held against what was expected |
//! | `own_check` | outputs that the definition's own function judges |

pub mod philox;

pub mod element;

pub mod distribution;

pub mod generator;

pub mod structure;

pub mod safetensors;

pub mod scope;

pub mod tolerance;

mod histogram;

pub mod comparison;

pub mod set;

pub mod null_gate;

pub mod spread;

pub mod layout;

pub mod source;

pub mod device;

pub mod session;

pub mod binding;

pub mod trial;

mod custom;

mod strided;

mod given;

mod check;

mod own_check;

pub use comparison::{OutputComparison, OutputComparisonError, verdict};
pub use distribution::{Distribution, Profile};
pub use generator::{Form, Recipe, Stream};
pub use null_gate::{NullOutput, OpenGate, null_gate};
pub use safetensors::{TensorFile, TensorFileError};
pub use scope::out_of_scope;
pub use tolerance::Tolerance;
