//! What of the GPU only the judge reads: its sensors, and what `doctor` shows.
//!
//! The driver itself is in the player's crate, [`proofmark_player::device`]. Nothing before Measurement
//! imports either.
//!
//! | file | what it holds |
//! |---|---|
//! | [`sensors`] | clocks, throttle reasons, power, temperature, other processes |
//! | [`description`] | what `doctor` shows of the GPU half of a machine |

pub mod description;
pub mod sensors;

pub use description::{Description, describe};
