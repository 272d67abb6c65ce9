//! What calls of an entry point put on the GPU: launches, copies and fills, and the memory that they rely on.
//!
//! The hostile side makes it, so it is a claim: what it says is checked before anything is launched, and
//! outputs that the judge compares show whether it is what the entry point computes. Addresses of inputs,
//! outputs and allocated memory are those of [`crate::device::arena`], the same in every process. Addresses
//! of module variables differ from process to process: where one stands in a parameter or in memory, the bytes
//! are zero and a [`Relocation`] says what belongs there. So the same launches give the same document.
//!
//! The bytes of memory and variables travel apart, each as a numbered [`Contents`].

use serde::{Deserialize, Serialize};

use proofmark_packager::Digest;

/// Version of the document. Changes whenever an older reader would misunderstand.
pub const VERSION: u32 = 1;
/// Most bytes of memory and variables that one recording carries.
pub const CONTENTS_LIMIT_BYTES: u64 = 1 << 30;
/// Most launches, copies and fills of one call: what fits behind a hold.
pub const NODE_LIMIT: usize = 900;

/// What calls of an entry point put on the GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// [`VERSION`].
    pub version: u32,
    /// The modules whose kernels are launched, in the order of their first launch.
    pub modules: Vec<Module>,
    /// The memory that the submission allocated, by address.
    pub memory: Vec<Allocation>,
    /// One call for each slot of the judge's blocks, all from the same state.
    pub calls: Vec<Call>,
}

/// One loaded module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// SHA-256 of its image; set where the image is known to be a proven one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
    /// The kernels that are launched, as linked.
    pub kernels: Vec<RecordedKernel>,
    /// Its variables, by name.
    pub variables: Vec<Variable>,
    /// Variables of the image that were not recorded; set beside the image. None of them may be one that a name
    /// finds: texts of the compiler's own are not found, and everything else is put back before a call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// One kernel and what was set for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedKernel {
    /// The name, as linked.
    pub name: String,
    /// Largest dynamic shared memory that it was allowed, in bytes.
    pub max_dynamic_shared_bytes: u32,
    /// Preferred share of L1 for shared memory in percent; -1 for the driver's choice.
    pub shared_carveout: i32,
    /// Whether clusters of more than eight blocks were allowed.
    pub non_portable_clusters: bool,
    /// Offset and size of each parameter in bytes.
    pub parameters: Vec<(u32, u32)>,
}

/// One module variable at the start of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// The name, as linked.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// What it held.
    pub contents: Contents,
}

/// One block of memory at the start of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allocation {
    /// Its address.
    pub address: u64,
    /// Its size in bytes: whole blocks of 2 MiB.
    pub size_bytes: u64,
    /// What it held.
    pub contents: Contents,
}

/// What memory held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Contents {
    /// Zeros everywhere.
    Zeros,
    /// Bytes that travel apart.
    Bytes {
        /// Their number.
        number: u32,
        /// Module variables whose addresses stand in them.
        relocations: Vec<Relocation>,
    },
}

/// An address of a module variable, eight bytes, little-endian.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relocation {
    /// Where it stands, in bytes from the start.
    pub offset: u64,
    /// Which module.
    pub module: u32,
    /// Which of its variables.
    pub variable: u32,
    /// How far behind the variable's start it points, in bytes.
    pub addend: u64,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Whether the submission launches all of it as one graph, and so does who launches the recording.
    #[serde(default, skip_serializing_if = "is_false")]
    pub graph: bool,
    /// The work, each piece behind what it waits for.
    pub nodes: Vec<Node>,
}

/// One piece of work and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Earlier nodes of the same call that must have ended.
    pub after: Vec<u32>,
    /// The work.
    pub work: Work,
}

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Work {
    /// A kernel.
    Launch(Launch),
    /// A copy within device memory.
    Copy(CopyRows),
    /// A fill.
    Fill(FillRows),
}

/// A kernel's launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// Which module.
    pub module: u32,
    /// Which of its kernels.
    pub kernel: u32,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Dynamic shared memory in bytes.
    pub shared_bytes: u32,
    /// Blocks of a cluster; absent where the launch sets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<[u32; 3]>,
    /// Whether all blocks must run at once.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cooperative: bool,
    /// Whether it may begin while the one before it still runs (programmatic dependent launch).
    #[serde(default, skip_serializing_if = "is_false")]
    pub programmatic: bool,
    /// The parameters' bytes, one behind the other, as hexadecimal text.
    #[serde(with = "hexadecimal")]
    pub parameters: Vec<u8>,
    /// Module variables whose addresses stand in the parameters' bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relocations: Vec<Relocation>,
}

/// A copy within device memory: rows of bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyRows {
    /// Address of the first row of the source.
    pub from: u64,
    /// Bytes from row to row in the source.
    pub from_pitch: u64,
    /// Address of the first row of the target.
    pub to: u64,
    /// Bytes from row to row in the target.
    pub to_pitch: u64,
    /// Bytes of a row.
    pub width_bytes: u64,
    /// Rows.
    pub rows: u64,
}

/// A fill: rows of elements of one value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FillRows {
    /// Address of the first row.
    pub to: u64,
    /// Bytes from row to row.
    pub pitch: u64,
    /// The value.
    pub value: u32,
    /// Bytes of an element: 1, 2 or 4.
    pub element_bytes: u32,
    /// Elements of a row.
    pub width: u64,
    /// Rows.
    pub rows: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Contents {
    /// The number of the bytes that travel apart.
    pub fn number(&self) -> Option<u32> {
        match self {
            Self::Zeros => None,
            Self::Bytes { number, .. } => Some(*number),
        }
    }
}

impl Recording {
    /// Every contents with the size of what held it, memory first.
    pub fn contents(&self) -> impl Iterator<Item = (&Contents, u64)> {
        let variables = self.modules.iter().flat_map(|module| &module.variables);
        let memory = self.memory.iter().map(|one| (&one.contents, one.size_bytes));
        memory.chain(variables.map(|one| (&one.contents, one.size_bytes)))
    }
}

mod hexadecimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        use std::fmt::Write;
        let mut text = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(D::Error::custom("expected pairs of hexadecimal digits"));
        }
        let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).map_err(D::Error::custom);
        (0..text.len()).step_by(2).map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording() -> Recording {
        let launch = Launch {
            module: 0,
            kernel: 0,
            grid: [2, 1, 1],
            block: [256, 1, 1],
            shared_bytes: 0,
            cluster: None,
            cooperative: false,
            programmatic: true,
            parameters: vec![0x0a, 0xff],
            relocations: Vec::new(),
        };
        Recording {
            version: VERSION,
            modules: vec![Module {
                image: None,
                kernels: Vec::new(),
                variables: Vec::new(),
                unread: Vec::new(),
            }],
            memory: vec![Allocation { address: 1 << 45, size_bytes: 2 << 20, contents: Contents::Zeros }],
            calls: vec![Call {
                graph: false,
                nodes: vec![Node { after: vec![], work: Work::Launch(launch) }],
            }],
        }
    }

    #[test]
    fn reads_back_as_it_was_written() {
        let text = serde_json::to_string(&recording()).unwrap();
        assert!(text.contains(r#""parameters":"0aff""#) && !text.contains("cooperative"), "{text}");
        assert_eq!(serde_json::from_str::<Recording>(&text).unwrap(), recording());
    }

    #[test]
    fn refuses_what_is_no_hexadecimal_text() {
        let text = serde_json::to_string(&recording()).unwrap();
        for broken in ["0af", "0ä", "0x12", "zz"] {
            assert!(serde_json::from_str::<Recording>(&text.replace("0aff", broken)).is_err(), "{broken}");
        }
    }
}
