//! Keeps proven builds by digest.
//!
//! ```text
//! <cache>/v2/
//! ├── entries/<k2>/<key>/     one proven build, never changed after its rename into place
//! │   ├── SHA256SUMS          covers the four below; `sha256sum -c` reads it
//! │   ├── build.log           the compiler's words
//! │   ├── entry.json          what went into the build: the key's ingredients
//! │   ├── library.so          what came out
//! │   └── proof.json          why it is what was asked for
//! ├── plans/<p2>/<plan>.json  the headers that the last build of a plan read, and who built what is not from here;
//! │                           rewritten by rename
//! ├── units/<u2>/<unit>      one object file and what went into it; see `unit.rs`
//! ├── names/<n2>/<name>.json  the ingredients of a name's last build; explains a miss
//! ├── locks/<plan>.lock       one builder a plan; empty files
//! ├── in-use.lock             shared by uses, held alone while something is taken away
//! ├── failures/<p2>/<plan>.json  what a plan's last build said, for seconds: many at once compile it once
//! └── staging/<random>/       half-made things: builds and entries; swept by `gc`
//!
//! <cache>/v2/file-digests    digests of files by inode and times; see `toolchain::FileDigests`
//! ```
//!
//! | what enters the key | where from |
//! |---|---|
//! | key version | `key.rs` |
//! | every packed file's path and digest | the artifact |
//! | the function that must be exported | the artifact |
//! | gencode, every argument and variable of the command | the build plan |
//! | digest of every compiler stage, host compiler and linker, TVM-FFI | the toolchain's fingerprint |
//! | digest of every header that the compiler read | the depfile of the build |
//!
//! No time, no path, no machine name enters it, and nothing that only people read: a changed name,
//! author or description is a hit. Headers are known only after a build, so a look-up
//! has two steps: the *plan* key names everything known before, the file under `plans/` lists the
//! headers that such a build read, and their digests of today complete the key.
//!
//! Where the build as a whole is not there, its units may be: an object file is used again if its
//! source, every file that it read, its command and the toolchain have the digests of then. It
//! saves time and proves nothing; the linked library is proven like any other, and `--fresh` uses none.
//!
//! **Safety.** Correctness rests on three things alone: an entry appears by one rename, it is
//! re-hashed and its proof is checked again whenever it is read, and insertion takes a [`Proof`].
//! Whoever can write into the cache is trusted not to forge entry and record alike; who is not should
//! build with `--fresh`. Locks only save work: where a file system has none, or has them per machine as some NFS mounts
//! do, two builders may build the same plan; the second finds the first's entry and both agree.
//! [`Store::lock_scope`] says which it is.
//!
//! [`Proof`]: crate::proof::Proof

mod entry;
mod error;
mod failures;
mod fetched_from;
mod gc;
mod key;
mod lock;
mod owner;
mod staging;
mod store;
mod unit;
mod use_lock;

pub use entry::{CacheEntry, EntryFault, Insertion};
pub use error::CacheError;
pub use fetched_from::FetchedFrom;
pub use gc::{Stats, SweepLimits, Swept};
pub use key::{BuildName, Ingredients, Key, MissReason, PlanKey, UnitKey};
pub use lock::{LockScope, PlanLock};
pub use store::{Inserted, Lookup, Store};
