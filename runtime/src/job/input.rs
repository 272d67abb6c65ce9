//! A submission or a built library, by digest and bytes.

use std::borrow::Cow;
use std::path::Path;

use base64::Engine;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use proofmark_packager::{Artifact, Bundle, Digest, Evidence, bundle};
use serde::{Deserialize, Serialize, Serializer};

use super::extension::is_extension;

/// What is built or measured. In a document it stands with its bytes, so that another machine needs
/// nothing else.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "InputDocument")]
pub enum Input {
    /// A submission; it is built and proven.
    Artifact(Box<Bundle>),
    /// A library that somebody built; it is proven as it is.
    Library(Library),
}

/// A built library and its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// The file's name without its ending, as tables and records show it.
    pub name: String,
    /// The exported symbol, without TVM-FFI's prefix.
    pub symbol: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Library {
    /// Names a library by its file.
    pub fn new(path: &Path, symbol: &str, bytes: Vec<u8>) -> Self {
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Self { name, symbol: symbol.to_owned(), bytes }
    }
}

impl Input {
    /// A submission without evidence.
    pub fn of_artifact(artifact: Artifact) -> Self {
        Self::Artifact(Box::new(Bundle { artifact, evidence: Evidence::default() }))
    }

    /// The artifact's identity, or the SHA-256 of the library.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Artifact(bundle) => bundle.artifact.digest(),
            Self::Library(library) => Digest::of_bytes(&library.bytes),
        }
    }

    /// The submission, if it is one.
    pub fn artifact(&self) -> Option<&Artifact> {
        match self {
            Self::Artifact(bundle) => Some(&bundle.artifact),
            Self::Library(_) => None,
        }
    }

    /// Whether it runs as a library, and not in Python.
    pub fn is_compiled(&self) -> bool {
        !self.artifact().is_some_and(runs_in_python)
    }

    /// Its name, as tables and records show it.
    pub fn name(&self) -> &str {
        match self {
            Self::Artifact(bundle) => &bundle.artifact.manifest().solution.name,
            Self::Library(library) => &library.name,
        }
    }
}

/// Whether a submission is called through Python.
fn runs_in_python(artifact: &Artifact) -> bool {
    !artifact.manifest().build.language.is_compiled() || is_extension(artifact)
}

/// Whether a submission is called as a library and returns its outputs, which then are no buffers of the judge's.
pub fn returns_outputs(artifact: &Artifact) -> bool {
    !artifact.manifest().build.destination_passing_style && !runs_in_python(artifact)
}

/// Bytes in base64, written piece by piece: a library takes a hundred megabytes.
struct Base64<'a>(Cow<'a, [u8]>);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(&self.0, &STANDARD))
    }
}

impl Serialize for Input {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        enum Written<'a> {
            Artifact { digest: Digest, zip: Base64<'a> },
            Library { digest: Digest, name: &'a str, symbol: &'a str, bytes: Base64<'a> },
        }
        let digest = self.digest();
        let written = match self {
            Self::Artifact(bundle) => {
                Written::Artifact { digest, zip: Base64(Cow::Owned(bundle::write(bundle))) }
            }
            Self::Library(Library { name, symbol, bytes }) => {
                Written::Library { digest, name, symbol, bytes: Base64(Cow::Borrowed(bytes)) }
            }
        };
        written.serialize(serializer)
    }
}

/// How an input stands in a document.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum InputDocument {
    /// An artifact.
    Artifact {
        /// Its identity, which must be what the zip holds.
        digest: Digest,
        /// The zip as `proofmark pack` or `seal` writes it, in base64.
        zip: String,
    },
    /// A library.
    Library {
        /// The SHA-256 of its bytes.
        digest: Digest,
        /// Its name, as tables and records show it.
        name: String,
        /// The exported symbol, without TVM-FFI's prefix.
        symbol: String,
        /// Its bytes in base64.
        bytes: String,
    },
}

/// Why a document's input cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputDocumentError {
    /// Its bytes are no base64.
    #[error("`{field}` is not base64")]
    Base64 {
        /// The field.
        field: &'static str,
        /// Where it stops being so.
        source: base64::DecodeError,
    },
    /// The zip is no artifact.
    #[error("`zip` is no artifact: {0}")]
    Bundle(#[from] bundle::BundleError),
    /// The bytes are not those that the digest names.
    #[error("the bytes have the digest {found}, expected {expected}")]
    Digest {
        /// What the document says.
        expected: Digest,
        /// What its bytes have.
        found: Digest,
    },
}

impl TryFrom<InputDocument> for Input {
    type Error = InputDocumentError;

    fn try_from(document: InputDocument) -> Result<Self, InputDocumentError> {
        let decode = |field, text: &str| {
            STANDARD.decode(text).map_err(|source| InputDocumentError::Base64 { field, source })
        };
        let (expected, input) = match document {
            InputDocument::Artifact { digest, zip } => {
                (digest, Self::Artifact(Box::new(bundle::read(&decode("zip", &zip)?)?)))
            }
            InputDocument::Library { digest, name, symbol, bytes } => {
                let bytes = decode("bytes", &bytes)?;
                (digest, Self::Library(Library { name, symbol, bytes }))
            }
        };
        let found = input.digest();
        if found == expected { Ok(input) } else { Err(InputDocumentError::Digest { expected, found }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_what_their_digest_names_are_refused() {
        let library = Library::new(Path::new("x/mine.so"), "run", b"\x7fELF".to_vec());
        let json = serde_json::to_string(&Input::Library(library.clone())).unwrap();
        let read: Input = serde_json::from_str(&json).unwrap();
        assert!(matches!(&read, Input::Library(again) if *again == library));
        assert_eq!(read.name(), "mine");
        let other = json.replace(&STANDARD.encode(b"\x7fELF"), &STANDARD.encode(b"\x7fELG"));
        let refused = serde_json::from_str::<Input>(&other).unwrap_err().to_string();
        assert!(refused.contains("have the digest"), "{refused}");
        assert!(serde_json::from_str::<Input>(&json.replace("\"name\"", "\"nam\"")).is_err());
    }
}
