//! The layer of Landlock: what may be opened, by the kernel's own rules.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};

use super::policy::Policy;

/// Devices that programs expect: nothing, zeros, randomness.
pub(super) const DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/urandom"];

/// The newest version whose rights we have looked at.
const NEWEST: ABI = ABI::V6;

/// Confines this thread and all that it starts.
pub(super) fn confine(policy: &Policy) -> Result<String, String> {
    let reading = AccessFs::from_read(NEWEST);
    let making = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock | AccessFs::MakeFifo;
    let writing: BitFlags<AccessFs> =
        AccessFs::from_all(NEWEST) & !(making | AccessFs::Execute | AccessFs::IoctlDev);
    let devices = AccessFs::ReadFile | AccessFs::WriteFile;
    let null = [DEVICES[0]].map(Path::new);
    let build = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?
            .add_rules(path_beneath_rules(policy.read(), reading))?
            .add_rules(path_beneath_rules(policy.write(), writing))?
            .add_rules(path_beneath_rules(DEVICES, AccessFs::ReadFile))?
            .add_rules(path_beneath_rules(null, devices))?
            .restrict_self()
    };
    let status = build().map_err(|error| error.to_string())?;
    let version = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => format!("version {}", effective_abi as i32),
        LandlockStatus::NotEnabled => return Err("not enabled in this kernel".to_owned()),
        LandlockStatus::NotImplemented => return Err("not in this kernel".to_owned()),
    };
    match status.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(version),
        RulesetStatus::NotEnforced => Err("not enforced by this kernel".to_owned()),
    }
}
