//! Remembers for a few seconds that a plan does not compile, so that many at once compile it once.
//!
//! A build that fails is not kept: a header that was missing may be there a minute later. But whoever
//! waited for the builder of the same plan takes the builder's answer.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::error::CacheError;
use super::gc::walk;
use super::key::PlanKey;
use super::lock::PlanLock;
use super::store::{Store, sharded};
use crate::build::Diagnostics;
use crate::regular_file;

/// How long a failure is remembered.
const REMEMBERED: Duration = Duration::from_secs(15);

/// Far more than any log: a build keeps one MiB of each command's.
const MOST_BYTES: u64 = 64 << 20;

impl Store {
    /// What the compiler said of this plan moments ago, if it failed.
    pub fn recent_failure(&self, plan: PlanKey, now: SystemTime) -> Option<Diagnostics> {
        let path = self.failure_path(plan);
        let made = fs::symlink_metadata(&path).and_then(|found| found.modified()).ok()?;
        // A time in the future is no moment ago.
        now.duration_since(made).ok().filter(|age| *age < REMEMBERED)?;
        serde_json::from_slice(&regular_file::read(&path, MOST_BYTES).ok()?).ok()
    }

    /// Remembers a failure.
    pub fn remember_failure(
        &self,
        _right: &PlanLock,
        plan: PlanKey,
        failure: &Diagnostics,
    ) -> Result<(), CacheError> {
        self.replace(&self.failure_path(plan), failure)
    }

    fn failure_path(&self, plan: PlanKey) -> PathBuf {
        sharded(&self.failures_root(), &plan.to_string(), ".json")
    }

    pub(super) fn failures_root(&self) -> PathBuf {
        self.root().join("failures")
    }

    /// Removes what is remembered no longer; gives how many there were.
    pub(super) fn forget_failures(&self, now: SystemTime) -> usize {
        let files = walk(&self.failures_root()).into_iter().flatten();
        let files = files.filter(|entry| !entry.file_type().is_dir());
        let is_old = |entry: &walkdir::DirEntry| {
            let made = entry.metadata().ok().and_then(|found| found.modified().ok());
            made.and_then(|made| now.duration_since(made).ok()).is_none_or(|age| age >= REMEMBERED)
        };
        files.filter(is_old).filter(|entry| fs::remove_file(entry.path()).is_ok()).count()
    }
}
