//! Keeps proven builds at a place that many machines reach: a folder that they share, or a bucket.
//!
//! ```text
//! <place>/v1/
//! ├── statements/<p2>/<plan>/<key>-<signer>.json   what a build gave: a DSSE envelope, see `statement.rs`
//! └── archives/<a2>/<sha256>.zip                   what it was built of and what came out, see `archive.rs`
//! ```
//!
//! The *statement* is signed and says which archive, library and log belong to a key, and which headers the
//! build read. Whoever looks a plan up lists its statements, takes those of signers that they allow whose
//! headers are today's, and has the one archive that they name.
//!
//! **What is believed.** The place is trusted with nothing: it can lose entries, and nothing else. A signer
//! is trusted to have built what they say; nobody's word is taken for what the bytes hold. The key is
//! computed anew from our own plan, the archive and its parts are hashed again, and the library is proven
//! again against our own command, all before the local cache takes it.
//!
//! **What it may cost.** Each answer is waited for a bounded time. A place that fails or is late is not
//! asked again by the same job, which says so once and builds. Nothing is overwritten: an object is made
//! where there is none, or not at all.
//!
//! | file | what it holds |
//! |---|---|
//! | [`place`] | where it is, as people write it |
//! | `objects`, `object` | objects by name: listed, read, made; and what came of it |
//! | `folder` | the same in a folder |
//! | `bucket`, `secrets` | the same in a bucket, and errors without credentials; with the feature `buckets` |
//! | `patience` | the same, waited for no longer than a deadline |
//! | [`statement`] | what is signed |
//! | [`archive`] | what is archived |
//! | [`shared`] | both put together: looked up, shared |

pub mod archive;
#[cfg(feature = "buckets")]
mod bucket;
mod folder;
mod object;
mod objects;
mod patience;
pub mod place;
#[cfg(feature = "buckets")]
mod secrets;
pub mod shared;
pub mod statement;

pub use object::{Creation, ObjectError};
pub use place::{CachePlace, PlaceError};
pub use shared::{Found, SharedCache, Sharing, SharingError, SharingNotice};
