//! Paths as text: a path need not be UTF-8, a document must be.

use std::path::Path;

use serde::Serializer;

/// The path, with what is no UTF-8 replaced. For people and documents, never to open it again.
pub fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

/// Writes a path into a document; for `#[serde(serialize_with = "…")]`.
pub fn serialize<S: Serializer>(path: &impl AsRef<Path>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(path))
}

/// The same for a path that may be missing.
pub fn serialize_option<S: Serializer>(
    path: &Option<impl AsRef<Path>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => serializer.serialize_some(&text(path)),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_path_that_is_no_text_is_shown_all_the_same() {
        let path = Path::new(OsStr::from_bytes(b"/a/\xff"));
        assert_eq!(text(path), "/a/\u{fffd}");
    }
}
