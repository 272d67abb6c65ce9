//! What the player may no longer do.
//!
//! Three steps, each as early as the GPU allows:
//!
//! 1. [`give_up_privileges`], first thing in the process: a session of its own, no privileges by
//!    executing, no capabilities, no core files, memory closed to others, an end with the judge.
//! 2. [`Reach::bound`], once the libraries are found and before the driver starts any thread: which files
//!    can be read or written, no network, no signals and no sockets outside. A bound holds for
//!    the threads that are started after it, so the driver's own threads are under this one.
//! 3. [`refuse_system_calls`], when foreign code is about to be loaded: a list of allowed system calls, on
//!    every thread, and narrower files.
//!
//! Each step is best effort: an older kernel gives less, and [`Protections::missing`] says in words what
//! no step could refuse. Nothing here ends the player for a refused call: the call fails with `EPERM`.
//!
//! | file | what it holds |
//! |---|---|
//! | `privileges` | the process's own standing |
//! | `files` | files, network, sockets and signals by Landlock |
//! | `system_calls` | the allowed system calls, by seccomp |
//! | `allowed` | the list of them |
//! | `refusals` | showing refused calls while looking for a fault |
//! | `protections` | what was had, and what is missing |

mod allowed;
mod files;
mod privileges;
mod protections;
mod refusals;
mod system_calls;

pub use files::{Extent, Reach};
pub use privileges::{drop_all_capabilities, give_up_privileges, restore_crash_signals};
pub use protections::{Files, Protections};
pub use refusals::{FLAG as SHOW_REFUSALS_FLAG, Refusals};
pub use system_calls::refuse_system_calls;
