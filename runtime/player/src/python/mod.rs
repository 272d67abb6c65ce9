//! A player inside a Python interpreter: entry points in Python, called on the judge's memory.
//!
//! The judge starts an interpreter with the script `host.py`, which loads this crate as a library and calls
//! `serve_python`'s one function. From there on the player's loop is the same as for compiled code: it holds the
//! interpreter's lock, makes tensors of the judge's memory, and calls the entry point.
//!
//! | file | what it holds |
//! |---|---|
//! | `api` | the functions of Python's C interface that are used |
//! | `object` | objects with an owner here |
//! | `interpreter` | the interpreter and the entry point |
//! | `program` | what a Python player is started with |
//! | `host.py` | the script: imports, tensors, calling conventions, words of errors |
//! | `definition.py` | a definition's own reference, as it stands and in double precision |

mod api;
mod interpreter;
mod object;
mod program;

pub use api::PyObject;
pub(crate) use interpreter::{Arguments, Interpreter};
pub(crate) use object::Object;
pub use program::{PLAYER_LIBRARY, PLAYER_VARIABLE, PlayerLibraryError, PythonProgram, player_library};
