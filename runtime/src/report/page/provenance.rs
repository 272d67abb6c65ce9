//! Where a run came from: build, proof, environment.

use maud::{Markup, html};

use super::exhibit::SealFacts;
use super::{Exhibit, text};
use crate::record::WorkloadRecord;

/// What is known of the build and the machine.
pub(super) fn section(exhibit: &Exhibit) -> Markup {
    html! {
        div.columns {
            @if let Some(seal) = &exhibit.seal { (build(seal)) }
            @if let Some(record) = exhibit.records.last() { (environment(record, exhibit)) }
        }
        @if let Some(seal) = &exhibit.seal { (commands(seal)) }
    }
}

fn row(name: &str, value: &str) -> Markup {
    html! { dt { (name) } dd { (text(value)) } }
}

fn build(seal: &SealFacts) -> Markup {
    let SealFacts { artifact, evidence, build, proof, witnesses } = seal;
    html! {
        div {
            h3 { "Proof and provenance, as sealed" }
            dl {
                (row("architecture", &format!("{} and nothing else, {witnesses} witnesses confirm", proof.arch())))
                (row("artifact", &artifact.to_string()))
                (row("evidence", &evidence.to_string()))
                (row("library", &build.library.sha256.to_string()))
                @for image in &build.device_images {
                    (row("image", &format!("{} {} ({} bytes, {} kernels)", image.arch, image.sha256, image.size_bytes, image.kernels.len())))
                }
                (row("nvcc", &build.toolchain.release.to_string()))
                (row("host compiler", &build.toolchain.host_compiler))
                (row("TVM-FFI", &build.toolchain.tvm_ffi))
                (row("headers", &format!("{} files", build.dependencies.len())))
            }
        }
    }
}

fn commands(seal: &SealFacts) -> Markup {
    html! {
        details {
            summary { "Commands (" (seal.build.commands.len()) ")" }
            @for command in &seal.build.commands { pre { (text(command)) } }
        }
    }
}

fn environment(record: &WorkloadRecord, exhibit: &Exhibit) -> Markup {
    let context = &record.context;
    let machine = &context.environment;
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let copy = context
        .copy_bytes_per_second
        .map_or_else(|| "unknown".to_owned(), |speed| format!("{:.2} TB/s", speed / 1e12));
    let clocks: Vec<u32> = exhibit
        .records
        .iter()
        .flat_map(|record| &record.finding.readings)
        .filter_map(|reading| reading.sm_mhz)
        .collect();
    html! {
        div {
            h3 { "Environment" }
            dl {
                (row("device", &machine.device))
                (row("driver", &or_none(&machine.driver)))
                (row("CUPTI", &or_none(&machine.cupti)))
                (row("copy", &copy))
                @if let (Some(low), Some(high)) = (clocks.iter().min(), clocks.iter().max()) {
                    (row("SM clock", &format!("{low} to {high} MHz")))
                }
                (row("measured", record.timestamp.as_str()))
                (row("run", &crate::ledger::row::run_of(context)))
                (row("from", &exhibit.source))
                (row("toolchain", &context.toolchain.map_or_else(|| "unknown".to_owned(), |digest| digest.to_string())))
                (row("reference", &context.reference.map_or_else(|| "unknown".to_owned(), |digest| digest.to_string())))
                (row("proofmark", &machine.proofmark))
            }
        }
    }
}
