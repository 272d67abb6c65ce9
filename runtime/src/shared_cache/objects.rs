//! Objects by name at a place: listed, read within a budget, made where there is none.

use std::time::Duration;

#[cfg(feature = "buckets")]
use super::bucket::Bucket;
use super::folder::Folder;
use super::object::{Creation, ObjectError};
use super::place::CachePlace;

/// The objects of a place.
#[derive(Debug)]
pub(super) enum Objects {
    /// In a folder.
    Folder(Folder),
    /// In a bucket.
    #[cfg(feature = "buckets")]
    Bucket(Bucket),
}

impl Objects {
    /// Refuses a place that this program cannot speak to.
    pub(super) fn require_built(place: &CachePlace) -> Result<(), ObjectError> {
        let is_built = cfg!(feature = "buckets") || matches!(place, CachePlace::Folder(_));
        is_built.then_some(()).ok_or(ObjectError::NotBuilt)
    }

    /// The objects of a place; nothing is asked of it yet.
    pub(super) fn of(place: &CachePlace, patience: Duration) -> Result<Self, ObjectError> {
        match place {
            CachePlace::Folder(root) => Ok(Self::Folder(Folder::new(root.clone()))),
            #[cfg(feature = "buckets")]
            CachePlace::Bucket { service, bucket, prefix } => {
                Ok(Self::Bucket(Bucket::new(*service, bucket, prefix, patience)?))
            }
            #[cfg(not(feature = "buckets"))]
            CachePlace::Bucket { .. } => {
                let _ = patience;
                Err(ObjectError::NotBuilt)
            }
        }
    }

    /// At most so many names of objects below a prefix, sorted. None where nothing is below it.
    pub(super) fn list(&self, prefix: &str, most: usize) -> Result<Vec<String>, ObjectError> {
        match self {
            Self::Folder(folder) => folder.list(prefix, most),
            #[cfg(feature = "buckets")]
            Self::Bucket(bucket) => bucket.list(prefix, most),
        }
    }

    /// An object's bytes; `None` where there is none of that name.
    pub(super) fn get(&self, name: &str, most_bytes: u64) -> Result<Option<Vec<u8>>, ObjectError> {
        match self {
            Self::Folder(folder) => folder.get(name, most_bytes),
            #[cfg(feature = "buckets")]
            Self::Bucket(bucket) => bucket.get(name, most_bytes),
        }
    }

    /// Makes an object whole, unless there is one of that name.
    pub(super) fn create(&self, name: &str, bytes: &[u8]) -> Result<Creation, ObjectError> {
        match self {
            Self::Folder(folder) => folder.create(name, bytes),
            #[cfg(feature = "buckets")]
            Self::Bucket(bucket) => bucket.create(name, bytes),
        }
    }
}
