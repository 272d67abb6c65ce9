//! Policies that need no file.

use std::collections::BTreeSet;

use super::finding::FindingKind;
use super::inventory::{Form, Inventory};
use super::policy::{Allowed, Pattern, ReleasePolicy, Rule, Waiver};

/// A policy under which each file must ship the architectures that its namesake in `model` ships: the same
/// machine code, no other PTX, device code in no other file. What is not known of the model is a finding: no
/// file can be like it.
pub fn like(name: &str, model: &Inventory) -> ReleasePolicy {
    let mut rules = Vec::new();
    let mut waivers = Vec::new();
    for (file, inventory) in &model.files {
        let archs = |wanted: Form| -> BTreeSet<_> {
            let of_form = inventory.images.keys().filter(|(_, form)| *form == wanted);
            of_form.filter_map(|(arch, _)| *arch).collect()
        };
        let glob = glob_for(file);
        if !inventory.images.is_empty() {
            rules.push(Rule {
                name: file.clone(),
                files: vec![glob.clone()],
                device_code: true,
                require: archs(Form::MachineCode),
                allow: Allowed::none(),
                ptx: Allowed::These(archs(Form::Ptx)),
                lto_ir: inventory.images.keys().any(|(_, form)| *form == Form::LtoIr),
                runs_on: Vec::new(),
            });
        }
        if inventory.runtime_jit {
            waivers.push(Waiver {
                files: vec![glob],
                findings: vec![FindingKind::RuntimeJit],
                reason: format!("so it is in {name}"),
            });
        }
    }
    let not_known = model.not_known();
    ReleasePolicy { name: format!("like {name}"), rules, waivers, refuses_runtime_jit: true, not_known }
}

/// The glob for a file in the next release: what names a Python version or a library's own may change.
fn glob_for(file: &str) -> Pattern {
    let escaped = glob::Pattern::escape(file);
    let mut text = String::new();
    for (index, part) in escaped.split('.').enumerate() {
        if index > 0 {
            text.push('.');
        }
        let tag = ["cpython-", "cp3"].iter().any(|start| part.starts_with(start));
        let version = index > 1 && !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        text.push_str(if tag || version { "*" } else { part });
    }
    Pattern::new(&text).unwrap_or_else(|_| Pattern::exactly(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examine;

    #[test]
    fn a_release_ships_like_itself_and_not_like_another() {
        let exact = examine(include_bytes!("../../../../tests/fixtures/proof/exact_13.0.so"));
        let mixed = examine(include_bytes!("../../../../tests/fixtures/proof/with_ptx_13.0.fatbin"));
        let mut model = Inventory::default();
        model.add("pkg/k.cpython-311-x86_64-linux-gnu.so", &exact);
        let policy = like("old.whl", &model);
        let hold = |file: &str, one| policy.hold(file, one, None, &mut BTreeSet::new());
        assert!(hold("pkg/k.cpython-312-x86_64-linux-gnu.so", &exact).is_empty());
        assert!(!hold("pkg/k.cpython-311-x86_64-linux-gnu.so", &mixed).is_empty());
        assert_eq!(hold("pkg/l.so", &exact)[0].kind, FindingKind::DeviceCode);
    }

    #[test]
    fn the_numbers_of_a_library_may_change() {
        assert_eq!(glob_for("lib/libk.so.12.4").text(), "lib/libk.so.*.*");
        assert_eq!(glob_for("lib/[k].so").text(), "lib/[[]k[]].so");
    }
}
