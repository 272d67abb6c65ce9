//! Speaks the formats of other tools, so that what we read and write is theirs as well.
//!
//! | file or folder | noun |
//! |---|---|
//! | [`flashinfer`] | FlashInfer-Bench, whose words are ours |
//! | [`solexec`] | NVIDIA SOL-ExecBench |
//! | [`popcorn`] | GPU MODE |
//! | [`mod@python_surface`] | a kernel as a Python entry that compiles it |
//! | [`torch_binding`] | a kernel with a TVM-FFI entry as a torch extension |
//! | [`named`] | a map that keeps the order of the document: a definition's order is its call order |
//! | [`violation`] | what is wrong with a document, every finding with its place |
//! | `document` | takes a JSON document apart, field by field |
//! | [`arity`] | whether an entry takes as many arguments as a board passes |
//! | [`linker_flags`] | which flags of nvcc are for its linker alone |
//! | `unread` | fields of a solution.json that nothing reads |
//! | `pieces` | C++ text taken apart into comments, texts and names |
//! | `python` | Python text as far as its shape tells: code, statements, what they give a name |
//! | `operator` | what definitions of both boards say alike |

pub mod arity;
mod document;
pub mod flashinfer;
pub mod linker_flags;
pub mod named;
mod operator;
mod pieces;
pub mod popcorn;
mod python;
pub mod python_surface;
pub mod solexec;
pub mod torch_binding;
mod unread;
pub mod violation;

pub use python_surface::{SurfaceError, python_surface};
pub use violation::Invalid;
