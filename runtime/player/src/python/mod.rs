//! A player inside a Python interpreter: entry points in Python, called on the judge's memory.
//!
//! The judge starts an interpreter with the script `host.py`, which loads this crate as a library and calls
//! [`proofmark_player_serve`]. From there on the player's loop is the same as for compiled code: it holds the
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

use std::ffi::c_int;

pub use api::PyObject;
pub(crate) use interpreter::{Arguments, Interpreter};
pub(crate) use object::Object;
pub use program::{PLAYER_LIBRARY, PLAYER_VARIABLE, PlayerLibraryError, PythonProgram, player_library};

use crate::confinement::Refusals;
use crate::serve::serve_in;

/// Serves the judge inside the interpreter that loaded this library. Returns 0 once the judge has hung up.
///
/// # Safety
/// `host` must be the script's object, a live object of the calling interpreter, whose lock the caller holds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proofmark_player_serve(host: *mut PyObject, show_refusals: c_int) -> c_int {
    let refusals = if show_refusals == 0 { Refusals::Silent } else { Refusals::Shown };
    // SAFETY: the caller answers for the object and for the lock, which is held until this returns.
    let interpreter = unsafe { Interpreter::over(host) };
    let served =
        interpreter.map_err(std::io::Error::other).and_then(|inside| serve_in(refusals, Some(inside)));
    match served {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("player: {error}");
            3
        }
    }
}
