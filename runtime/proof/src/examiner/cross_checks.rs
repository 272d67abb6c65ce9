//! What is held against each other once everything is found: wrappers, relocations, and what looks random.

use std::collections::HashSet;

use rayon::prelude::*;

use super::{Examiner, Registered};
use crate::coverage::overlaps;
use crate::embedded::opaque;
use crate::examination::Entry;
use crate::problem::Problem;
use crate::runtime_jit::RuntimeJit;
use crate::task::chunks;

/// Most ranges that are named because they look random.
const OPAQUE_LIMIT: usize = 16;

impl Examiner<'_> {
    /// Every registered wrapper must lead to the start of a container in the sections for them.
    pub(super) fn follow_wrappers(&mut self) {
        let placed: HashSet<u64> = {
            let containers = self.found.containers.iter().filter(|one| !one.place.loose);
            containers.map(|one| one.offset).collect()
        };
        for Registered { wrapper, container } in std::mem::take(&mut self.registered) {
            if !placed.contains(&container) {
                let reason =
                    format!("a registered wrapper points to {container:#x}, where no container starts");
                self.unaccounted(wrapper, reason);
            }
        }
    }

    /// Nothing may write into device code, wherever it lies, while it is loaded.
    pub(super) fn hold_against_writes(&mut self) {
        let mut written = std::mem::take(&mut self.written);
        written.sort_unstable();
        let widest = written.iter().map(|&(_, width)| width).max().unwrap_or_default();
        let containers = self.found.containers.iter().map(|one| (one.offset, one.size_bytes));
        let bare = self.found.entries.iter().filter(|entry| entry.container.is_none());
        let images: Vec<(u64, u64)> =
            containers.chain(bare.map(|entry| (entry.offset, entry.image_bytes))).collect();
        for (start, size) in images {
            let near = start.saturating_sub(widest);
            let from = written.partition_point(|&(offset, _)| offset < near);
            let touching = written[from..]
                .iter()
                .take_while(|&&(offset, _)| offset < start.saturating_add(size))
                .find(|&&(offset, width)| offset.saturating_add(width) > start);
            if let Some(&(offset, width)) = touching {
                self.refuse(Problem::over(
                    offset,
                    width,
                    "a relocation changes device code when it is loaded",
                ));
            }
        }
    }

    /// Where device code can be loaded that nothing registers, what looks random could be such code, packed or
    /// enciphered.
    pub(super) fn name_opaque_data(&mut self) {
        let named = self.found.runtime_jit.iter().find(|sign| matches!(sign, RuntimeJit::Names(_)));
        let Some(loads) = self.loads.take().or_else(|| named.map(RuntimeJit::words)) else { return };
        if !self.depth.is_whole() {
            return;
        }
        let unknown = self.coverage.unknown(self.bytes.len() as u64);
        let unknown = chunks(self.bytes, &overlaps(&unknown, &self.host_data));
        let opaque: Vec<(usize, usize)> =
            unknown.into_par_iter().flat_map_iter(|range| opaque(self.bytes, range)).collect();
        let problems = opaque.into_iter().take(OPAQUE_LIMIT).map(|(start, size)| {
            let reason =
                format!("bytes that look random, in a file that can load device code from memory: {loads}");
            Problem::over(start as u64, size as u64, reason)
        });
        self.found.unexplained.extend(problems);
    }

    /// Unexplained bytes matter around device code alone: what is no device code needs no rule.
    pub(super) fn explain_the_rest(&mut self) {
        if self.found.entries.iter().all(Entry::is_stub) {
            self.found.unexplained.clear();
        }
    }
}
