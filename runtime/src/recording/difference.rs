//! What differs between two recordings of one workload.

use proofmark_packager::escape;
use proofmark_player::recording::{Call, Module, Recording, Work};

/// The first thing in which a new recording differs from an earlier one, in words; `None` where both launch the
/// same. Where they hold different numbers of calls, those that both have are compared.
pub fn difference(before: &Recording, now: &Recording) -> Option<String> {
    of_modules(&before.modules, &now.modules).or_else(|| {
        if before.memory != now.memory {
            let bytes =
                |recording: &Recording| recording.memory.iter().map(|one| one.size_bytes).sum::<u64>();
            return Some(match (bytes(before), bytes(now)) {
                (before, now) if before == now => "memory is laid out differently".to_owned(),
                (before, now) => format!("{now} bytes of memory where there were {before}"),
            });
        }
        before.calls.iter().zip(&now.calls).find_map(|(before, now)| of_calls(before, now))
    })
}

fn of_modules(before: &[Module], now: &[Module]) -> Option<String> {
    let images = |modules: &[Module]| modules.iter().map(|module| module.image).collect::<Vec<_>>();
    if images(before) != images(now) {
        return Some("other machine code is launched".to_owned());
    }
    let differing = before.iter().zip(now).find(|(before, now)| before != now)?;
    let kernel = differing.1.kernels.first().map_or("", |kernel| &kernel.name);
    Some(format!("the module of kernel `{}` is set up differently", escape::line(kernel)))
}

fn of_calls(before: &Call, now: &Call) -> Option<String> {
    if before.nodes.len() != now.nodes.len() {
        let (before, now) = (before.nodes.len(), now.nodes.len());
        return Some(format!("a call puts {now} pieces of work on the GPU where it put {before}"));
    }
    if before.graph != now.graph {
        return Some(format!("a call is {}launched as one graph", if now.graph { "" } else { "not " }));
    }
    let at = before.nodes.iter().zip(&now.nodes).position(|(before, now)| before != now)?;
    Some(match (&before.nodes[at].work, &now.nodes[at].work) {
        (Work::Launch(before), Work::Launch(now)) if (before.grid, before.block) != (now.grid, now.block) => {
            format!(
                "launch {} of a call has {:?} blocks of {:?} threads where it had {:?} of {:?}",
                at + 1,
                now.grid,
                now.block,
                before.grid,
                before.block
            )
        }
        (Work::Launch(_), Work::Launch(_)) => {
            format!("launch {} of a call has other parameters or attributes", at + 1)
        }
        _ => format!("piece {} of a call's work is another", at + 1),
    })
}

#[cfg(test)]
mod tests {
    use proofmark_player::recording::{Allocation, Contents, FillRows, Node, VERSION};

    use super::*;

    fn recording(width: u64) -> Recording {
        let fill = FillRows { to: 1 << 45, pitch: 0, value: 0, element_bytes: 1, width, rows: 1 };
        let call = Call { graph: false, nodes: vec![Node { after: vec![], work: Work::Fill(fill) }] };
        Recording {
            version: VERSION,
            modules: Vec::new(),
            memory: vec![Allocation { address: 1 << 45, size_bytes: 2 << 20, contents: Contents::Zeros }],
            calls: vec![call.clone(), call],
        }
    }

    #[test]
    fn names_the_first_thing_that_differs() {
        let one = recording(1);
        assert_eq!(difference(&one, &one.clone()), None);
        assert_eq!(difference(&one, &recording(2)).unwrap(), "piece 1 of a call's work is another");
        let mut larger = one.clone();
        larger.memory[0].size_bytes = 4 << 20;
        assert!(difference(&one, &larger).unwrap().starts_with("4194304 bytes of memory"));
        let mut shorter = one.clone();
        shorter.calls.pop();
        assert_eq!(difference(&one, &shorter), None);
        shorter.calls[0].nodes.clear();
        assert!(difference(&one, &shorter).unwrap().contains("puts 0 pieces of work"));
    }
}
