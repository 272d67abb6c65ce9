//! Where a player inside a Python interpreter begins: the function that the script `host.py` calls.

use std::ffi::c_int;

use crate::confinement::Refusals;
use crate::python::{Interpreter, PyObject};
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
