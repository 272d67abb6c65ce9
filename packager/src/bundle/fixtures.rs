//! Bundles that tests write, read and damage.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::write::zip_of;
use super::{Bundle, archive};
use crate::Evidence;
use crate::artifact::Artifact;
use crate::interop::flashinfer::solution;
use crate::submission::{SolutionMeta, Submission};

pub(super) fn artifact() -> Artifact {
    let text = r#"{"name":"n","definition":"d","author":"a","description":"",
        "spec":{"language":"cuda","target_hardware":["cuda"],"entry_point":"k.cu::run"},
        "sources":[{"path":"k.cu","content":"kernel"},{"path":"in/t.cuh","content":"tile"}]}"#;
    solution::read(text).unwrap()
}

pub(super) fn sealed() -> Bundle {
    let evidence = Evidence::default().with("build.json", b"{}".to_vec()).with("proof.json", b"[]".to_vec());
    Bundle { artifact: artifact(), evidence }
}

/// An artifact with a reference: one definition for both, workloads of its own for each.
pub(super) fn with_reference() -> Bundle {
    let submission = |name: &str, workloads: &str| Submission {
        solution: SolutionMeta { name: name.to_owned(), ..artifact().manifest().solution.clone() },
        build: artifact().manifest().build.clone(),
        target: artifact().manifest().target.clone(),
        sources: artifact().sources().to_vec(),
        definition: Some("{\"name\": \"d\"}".to_owned()),
        workloads: Some(workloads.to_owned()),
        reference: None,
        unknown: serde_json::Map::new(),
    };
    let reference = Some(Box::new(submission("reference", "theirs")));
    let artifact = Artifact::pack(Submission { reference, ..submission("n", "ours") }).unwrap();
    Bundle { artifact, evidence: Evidence::default() }
}

pub(super) fn entries_of(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let entries = archive::unzip(bytes).unwrap().into_iter();
    entries.map(|(name, content)| (name, content.into_owned())).collect()
}

pub(super) fn rezip(entries: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    zip_of(&entries.iter().map(|(name, content)| (name.clone(), Cow::Borrowed(content.as_slice()))).collect())
}

/// The same entries, deflated as another tool would.
pub(super) fn deflated(entries: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(name.as_str(), options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
