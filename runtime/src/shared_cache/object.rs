//! One object asked for at a place: whether it was made, and why nothing came of it.

use std::time::Duration;

/// Whether an object was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// It is there now, and was not before.
    Made,
    /// One of that name was there, and still is.
    Existed,
}

/// Why a place did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no such place, or it refuses.
    #[error("{reason}")]
    Failed {
        /// What the store or the system said, as a line that a terminal may show.
        reason: String,
    },
    /// It said nothing in time.
    #[error("no answer within {} s", waited.as_secs_f64())]
    Late {
        /// How long was waited.
        waited: Duration,
    },
    /// An object is larger than what is read.
    #[error("`{name}` is larger than {most_bytes} bytes")]
    TooLarge {
        /// Its name.
        name: String,
        /// The limit in bytes.
        most_bytes: u64,
    },
    /// What stands in an object's place is none, or cannot be read.
    #[error("`{name}` {reason}")]
    Unusable {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It failed before, or nothing may be read from it.
    #[error("it is not asked any more")]
    Gone,
    /// This program was built without what speaks to it.
    #[error("this proofmark was built without buckets: expected file:///FOLDER")]
    NotBuilt,
}

impl ObjectError {
    /// Whether it is about one object alone: others can still be had.
    pub(super) fn is_of_one_object(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::Unusable { .. })
    }
}
