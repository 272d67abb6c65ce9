//! How much memory the reading of one file takes, however the file is made.
//!
//! Payloads that are unpacked at the same time share a part of it, and whoever finds it used up waits; what
//! is kept of a file, kernels above all, is counted against another, and what goes beyond stays unread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// For payloads that are unpacked at one time, in bytes.
const UNPACKED_BYTES: u64 = 256 << 20;
/// For what is kept of one file, in bytes: several times what the largest libraries need.
const KEPT_BYTES: u64 = 192 << 20;
/// What a kernel takes beside its name, in bytes.
pub(super) const KERNEL_BYTES: u64 = 128;
/// Most entries, and most containers, of one file: many times those of the largest libraries.
pub(super) const ENTRIES: usize = 200_000;

static UNPACKED: Mutex<u64> = Mutex::new(0);
static RETURNED: Condvar = Condvar::new();

/// A share of the memory for payloads, given back when it goes out of scope.
#[must_use]
pub(super) struct Share {
    bytes: u64,
}

impl Share {
    /// Waits until so much is free; a payload that is larger than all of it waits until it is alone.
    pub(super) fn of(bytes: u64) -> Self {
        let bytes = bytes.min(UNPACKED_BYTES);
        let mut taken = UNPACKED.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken + bytes > UNPACKED_BYTES {
            taken = RETURNED.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken += bytes;
        Self { bytes }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *UNPACKED.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        RETURNED.notify_all();
    }
}

/// What may still be kept of one file.
pub(super) struct Kept {
    left: AtomicU64,
}

impl Default for Kept {
    fn default() -> Self {
        Self { left: AtomicU64::new(KEPT_BYTES) }
    }
}

impl Kept {
    /// Whether so much more may be kept.
    pub(super) fn take(&self, bytes: u64) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(bytes)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_everything_still_gets_its_turn() {
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(|| drop(Share::of(u64::MAX)))).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        drop(Share::of(1));
    }

    #[test]
    fn what_is_kept_comes_to_an_end() {
        let kept = Kept::default();
        assert!(kept.take(KEPT_BYTES - 1));
        assert!(!kept.take(2));
        assert!(kept.take(1));
    }
}
