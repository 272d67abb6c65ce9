//! Where a shared cache is, as people write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a shared cache is. It names a place and carries no credentials: those are the environment's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePlace {
    /// A folder, perhaps on a file system of the network.
    Folder(PathBuf),
    /// A bucket or container of a store.
    Bucket {
        /// Whose.
        service: Service,
        /// Its name.
        bucket: String,
        /// Where in it, without slashes around it; empty for its root.
        prefix: String,
    },
}

/// Whose bucket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Amazon S3, and what speaks as it does.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl Service {
    const ALL: [Self; 3] = [Self::S3, Self::Gcs, Self::Azure];

    /// What a place of it begins with.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }
}

/// Why a text names no place. The text is not repeated: it may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Of no kind that is known.
    #[error("expected file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX")]
    Scheme,
    /// Something that may be a credential.
    #[error("a place holds none of `@`, `?`, `#` and `%`: credentials belong into the environment")]
    Credentials,
    /// No absolute path.
    #[error("expected an absolute path after `file://`, as in file:///mnt/shared/builds")]
    Relative,
    /// No name of a bucket.
    #[error("expected the name of a bucket after `://`: letters, digits, `-`, `_` and `.`")]
    Bucket,
    /// A prefix that leads elsewhere.
    #[error("expected a prefix of plain parts: none is empty, `.` or `..`, or holds a control character")]
    Prefix,
}

impl FromStr for CachePlace {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (scheme, rest) = text.split_once("://").ok_or(PlaceError::Scheme)?;
        if rest.contains(['@', '?', '#', '%']) {
            return Err(PlaceError::Credentials);
        }
        if scheme == "file" {
            let path = PathBuf::from(rest);
            return if path.is_absolute() { Ok(Self::Folder(path)) } else { Err(PlaceError::Relative) };
        }
        let service =
            Service::ALL.into_iter().find(|one| one.scheme() == scheme).ok_or(PlaceError::Scheme)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_plain = |one: char| one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.');
        if bucket.is_empty() || !bucket.chars().all(is_plain) || bucket.starts_with('.') {
            return Err(PlaceError::Bucket);
        }
        let prefix = prefix.trim_end_matches('/');
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
        if !prefix.is_empty() && !prefix.split('/').all(is_part) {
            return Err(PlaceError::Prefix);
        }
        Ok(Self::Bucket { service, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for CachePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(formatter, "file://{}", path.display()),
            Self::Bucket { service, bucket, prefix } if prefix.is_empty() => {
                write!(formatter, "{}://{bucket}", service.scheme())
            }
            Self::Bucket { service, bucket, prefix } => {
                write!(formatter, "{}://{bucket}/{prefix}", service.scheme())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_as_it_is_shown() {
        for text in ["file:///mnt/a b", "s3://bucket", "gs://b-1/x/y", "az://c.d/p"] {
            assert_eq!(text.parse::<CachePlace>().unwrap().to_string(), text);
        }
        assert_eq!("s3://b/x/".parse::<CachePlace>().unwrap().to_string(), "s3://b/x");
    }

    #[test]
    fn what_names_no_place_or_carries_a_secret_is_refused_without_repeating_it() {
        for (text, expected) in [
            ("/mnt", PlaceError::Scheme),
            ("http://x/y", PlaceError::Scheme),
            ("file://mnt/x", PlaceError::Relative),
            ("file://", PlaceError::Relative),
            ("s3://key:secret@bucket/x", PlaceError::Credentials),
            ("az://c/x?sig=abc", PlaceError::Credentials),
            ("s3://", PlaceError::Bucket),
            ("s3://b:c/x", PlaceError::Bucket),
            ("s3://b/../x", PlaceError::Prefix),
            ("s3://b//x", PlaceError::Prefix),
            ("s3://b/\u{1b}", PlaceError::Prefix),
        ] {
            let error = text.parse::<CachePlace>().unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
