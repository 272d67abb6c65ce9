//! What outputs are held against.

use proofmark_packager::Digest;
use serde::{Deserialize, Serialize};

use super::input::Input;

/// What outputs are held against.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Reference {
    /// A submission for the same definition, or a built library, that is trusted to be right and may be
    /// slow. It is built and proven as the subject is.
    Submission {
        /// Its bytes.
        input: Input,
    },
    /// The definition's own code, in Python: run in double precision, whatever it asks for.
    Definition,
}

impl Reference {
    /// Whether it runs as a library.
    pub fn is_compiled(&self) -> bool {
        match self {
            Self::Submission { input } => input.is_compiled(),
            Self::Definition => false,
        }
    }

    /// The digest of what outputs are held against; the definition's code is named by the
    /// definition's own digest.
    pub fn digest(&self, definition: Digest) -> Digest {
        match self {
            Self::Submission { input } => input.digest(),
            Self::Definition => definition,
        }
    }
}
