//! A claimed recording held against the proven images.

use std::collections::{BTreeMap, BTreeSet};

use proofmark_packager::escape;
use proofmark_player::recording::{Call, NODE_LIMIT, Recording, VERSION, Work};

use super::images::DeviceImages;

/// Most modules: a library has a few.
const MODULE_LIMIT: usize = 1000;
/// Most blocks of memory, which the stage maps one by one.
const MEMORY_LIMIT: usize = 10_000;
/// Most bytes of memory.
const MEMORY_LIMIT_BYTES: u64 = 1 << 37;

/// Gives every module of a recording the proven image that it must be, or says why none is.
pub fn check(mut recording: Recording, images: &DeviceImages, slots: usize) -> Result<Recording, String> {
    if recording.version != VERSION {
        return Err(format!("the recording has version {} where {VERSION} is known", recording.version));
    }
    if recording.calls.len() != slots {
        return Err(format!("the recording has {} calls where {slots} were due", recording.calls.len()));
    }
    if let Some(call) = recording.calls.iter().find(|call| call.nodes.len() > NODE_LIMIT) {
        let count = call.nodes.len();
        return Err(format!("a call of {count} launches, copies and fills; {NODE_LIMIT} are the limit"));
    }
    let total = recording.memory.iter().try_fold(0_u64, |total, block| total.checked_add(block.size_bytes));
    if recording.memory.len() > MEMORY_LIMIT || total.is_none_or(|total| total > MEMORY_LIMIT_BYTES) {
        return Err(format!(
            "{} blocks of memory; {MEMORY_LIMIT} blocks and {} GiB are the limit",
            recording.memory.len(),
            MEMORY_LIMIT_BYTES >> 30
        ));
    }
    let launches =
        |call: &Call| call.nodes.iter().filter(|node| matches!(node.work, Work::Launch(_))).count();
    if recording.calls.iter().any(|call| launches(call) != launches(&recording.calls[0])) {
        return Err("its calls launch different numbers of kernels".to_owned());
    }
    if recording.modules.len() > MODULE_LIMIT
        || recording.modules.iter().any(|module| module.kernels.is_empty())
    {
        return Err(format!("modules without kernels, or more than {MODULE_LIMIT}"));
    }
    for module in &mut recording.modules {
        let kernels: BTreeSet<&str> = module.kernels.iter().map(|kernel| kernel.name.as_str()).collect();
        let variables: BTreeMap<&str, u64> =
            module.variables.iter().map(|variable| (variable.name.as_str(), variable.size_bytes)).collect();
        let holding = images.holding(&kernels);
        let named = escape::line(kernels.first().copied().unwrap_or_default());
        if holding.is_empty() {
            return Err(format!("kernel `{named}` comes from no image of the proven library"));
        }
        let fitting: Vec<_> = holding.into_iter().filter(|(_, image)| image.has(&variables)).collect();
        // Where several fit, each of them is proven, and outputs show whether it is the right one: a kernel of a
        // header has the same name in every source that uses it.
        let Some((digest, image)) = fitting.first() else {
            return Err(format!(
                "the module of kernel `{named}` is said to have variables that its image lacks"
            ));
        };
        if let Some(reason) = image.refusal() {
            return Err(reason.to_owned());
        }
        let unread = image.others(&variables);
        module.unread = unread;
        module.image = Some(*digest);
    }
    Ok(recording)
}
