//! What a player in Python is told to load.
//!
//! ```json
//! {"kind": "submission", "module": "fib_python_mine_0a1b2c.main", "entry": "main.py", "symbol": "run",
//!  "returns": false, "input_count": 3, "sources": {"main.py": "…sha256…"}}
//! {"kind": "definition", "name": "gdn_decode", "reference": "import torch…", "axes": {"head_size": 128},
//!  "variable_axes": ["batch_size"], "inputs": [["q", ["batch_size", "head_size"]], ["scale", null]],
//!  "custom_inputs": null, "check": "check"}
//! ```
//!
//! It holds no path of the machine, so that its digest names the code that runs.

use std::collections::BTreeMap;

use proofmark_packager::interop::flashinfer::Definition;
use proofmark_packager::{Artifact, Digest};
use serde::Serialize;

/// Digits of the artifact's digest in a package's name.
const DIGEST_DIGITS: usize = 6;

/// What a player in Python is told to load.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PythonDocument {
    /// A submission.
    Submission {
        /// The entry's module.
        module: String,
        /// The entry's file, for messages.
        entry: String,
        /// The entry's name in its module.
        symbol: String,
        /// Whether it returns its outputs.
        returns: bool,
        /// How many arguments are inputs.
        input_count: usize,
        /// Every source with its digest, so that the document names what runs.
        sources: BTreeMap<String, Digest>,
        /// The libraries that were built for what it compiles while it runs, by the digest of what it asks for.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        libraries: BTreeMap<String, Digest>,
    },
    /// A submission that is a compiled module of Python.
    Extension {
        /// The module.
        module: String,
        /// Its file.
        file: String,
        /// The entry's file, for messages.
        entry: String,
        /// The entry's name in its module.
        symbol: String,
        /// Whether it returns its outputs.
        returns: bool,
        /// How many arguments are inputs.
        input_count: usize,
        /// SHA-256 of the file.
        library: Digest,
    },
    /// A definition's own reference.
    Definition {
        /// The definition's name, for messages.
        name: String,
        /// The code.
        reference: String,
        /// The constant axes.
        axes: BTreeMap<String, u64>,
        /// The other axes, in the definition's order: what the function that makes inputs is told their values of.
        variable_axes: Vec<String>,
        /// The inputs in call order, with the names of their axes; none for a scalar.
        inputs: Vec<(String, Option<Vec<String>>)>,
        /// The function that makes the inputs which a workload leaves to the definition.
        custom_inputs: Option<String>,
        /// The function that says whether outputs are right; absent where they are held against the reference's.
        #[serde(skip_serializing_if = "Option::is_none")]
        check: Option<String>,
    },
}

impl PythonDocument {
    /// A submission for a definition, with the libraries that were built for what it compiles.
    pub fn of_submission(
        artifact: &Artifact,
        definition: &Definition,
        libraries: BTreeMap<String, Digest>,
    ) -> Self {
        let build = &artifact.manifest().build;
        let entry = build.entry_point.file.as_str();
        let stem = entry.strip_suffix(".py").unwrap_or(entry);
        let sources = artifact.sources().iter().map(|source| (source.path.to_string(), source.digest()));
        Self::Submission {
            module: format!("{}.{}", package(artifact), stem.replace('/', ".")),
            entry: entry.to_owned(),
            symbol: build.entry_point.symbol.clone(),
            returns: !build.destination_passing_style,
            input_count: definition.inputs().iter().count(),
            sources: sources.collect(),
            libraries,
        }
    }

    /// A submission for a definition that was built as a module.
    pub fn of_extension(artifact: &Artifact, definition: &Definition, module: &str, library: Digest) -> Self {
        let build = &artifact.manifest().build;
        Self::Extension {
            module: module.to_owned(),
            file: extension_file(module),
            entry: build.entry_point.file.to_string(),
            symbol: build.entry_point.symbol.clone(),
            returns: !build.destination_passing_style,
            input_count: definition.inputs().iter().count(),
            library,
        }
    }

    /// A definition's own reference.
    pub fn of_definition(definition: &Definition) -> Self {
        let constant = |axis: &proofmark_packager::interop::flashinfer::Axis| axis.constant;
        Self::Definition {
            name: definition.name().to_owned(),
            reference: definition.reference().to_owned(),
            axes: definition
                .axes()
                .iter()
                .filter_map(|(name, axis)| Some((name.to_owned(), constant(axis)?)))
                .collect(),
            variable_axes: definition.variable_axes().map(str::to_owned).collect(),
            inputs: definition
                .inputs()
                .iter()
                .map(|(name, spec)| (name.to_owned(), spec.shape.clone()))
                .collect(),
            custom_inputs: definition.custom_inputs().map(str::to_owned),
            check: definition.own_check().map(str::to_owned),
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers")
    }
}

/// The file of a module that was built.
pub(super) fn extension_file(module: &str) -> String {
    format!("{module}.so")
}

/// The name of the package that a submission's sources become.
pub(super) fn package(artifact: &Artifact) -> String {
    let name = &artifact.manifest().solution.name;
    let plain: String = name.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '_' }).collect();
    let digest = artifact.digest().to_string();
    format!("fib_python_{plain}_{}", &digest[..DIGEST_DIGITS])
}
