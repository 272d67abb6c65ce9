//! What a submission launches, instead of the process that launches it.
//!
//! A confined process calls the entry point once for each workload, on inputs that nobody uses again, and says
//! what that puts on the GPU ([`proofmark_player::recording`]). Its word is a claim. Here every module of it is
//! given the proven image that it must be ([`check()`]), and from then on only proven machine code is launched, in
//! a process that holds none of the submission's host code. Whether the launches are the submission's at all
//! shows in the outputs, on contents that the recorder never saw.
//!
//! | file | what it holds |
//! |---|---|
//! | [`images`] | the machine code of a proven library, and what each image has |
//! | [`run_time_code`] | machine code that Python loads while it runs |
//! | [`mod@check`] | a claimed recording held against the images |
//! | [`checked`] | a recording that can be launched |
//! | [`mod@difference`] | what differs between two recordings of one workload |
//! | [`trust`] | whether a number rests on a recording |

pub mod check;
pub mod checked;
pub mod difference;
pub mod images;
pub mod run_time_code;
pub mod trust;

pub use check::check;
pub use checked::{CheckedRecording, Unrecorded};
pub use difference::difference;
pub use images::DeviceImages;
pub use run_time_code::{CodeLibraries, LaunchedCode, Origins, RunTimeCode};
pub use trust::Trust;
