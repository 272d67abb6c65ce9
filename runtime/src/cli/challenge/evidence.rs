//! A sealed artifact with what was measured when it was sealed.

use proofmark_packager::Bundle;
use proofmark_packager::format::ATTESTATION_EVIDENCE;
use proofmark_packager::{Arch, Digest};

use crate::evidence::{Sealed, sealed};
use crate::ledger::Origin;
use crate::record::BenchReport;

/// A sealed artifact with its evidence, read.
#[derive(Debug)]
pub(super) struct Evidenced {
    /// The artifact.
    pub(super) bundle: Bundle,
    /// What its evidence says.
    pub(super) sealed: Sealed,
    /// Who measured it.
    pub(super) origin: Origin,
}

impl Evidenced {
    /// Reads the evidence, if it was measured for this architecture on this device.
    pub(super) fn of(bundle: Bundle, arch: Arch, device: &str, origin: Origin) -> Option<Self> {
        let sealed = sealed::read(&bundle).ok()?;
        let is_for = sealed.build.gencode.real_arch == arch
            && sealed.measurements.last()?.context.environment.device == device;
        is_for.then_some(Self { bundle, sealed, origin })
    }

    /// Its numbers.
    pub(super) fn report(&self) -> Option<BenchReport> {
        BenchReport::of_records(&self.sealed.measurements)
    }

    /// Whether every workload passed.
    pub(super) fn is_passed(&self) -> bool {
        self.report().is_some_and(|report| report.is_complete())
    }
}

/// The device that a sealed artifact was measured on.
pub(super) fn sealed_device(bundle: &Bundle) -> Option<String> {
    let sealed = sealed::read(bundle).ok()?;
    Some(sealed.measurements.last()?.context.environment.device.clone())
}

/// The digest of evidence without signatures, which may be added later.
pub(super) fn unsigned_digest(bundle: &Bundle) -> Digest {
    bundle.evidence.clone().without(ATTESTATION_EVIDENCE).digest(bundle.artifact.digest())
}
