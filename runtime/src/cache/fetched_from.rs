//! Who built an entry that was not built here.

use serde::{Deserialize, Serialize};

/// Who built an entry that was not built here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedFrom {
    /// The shared cache that it came from.
    pub place: String,
    /// Whose signature was believed then: names and the key's fingerprint.
    pub signed_by: Vec<String>,
}
