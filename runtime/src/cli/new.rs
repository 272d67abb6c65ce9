//! `proofmark new`: a submission to start from.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use clap::Args;
use proofmark_packager::Arch;
use proofmark_packager::interop::flashinfer::{Definition, Dtype, TensorSpec, solution};
use proofmark_packager::submission::{Submission, Target};
use proofmark_packager::unpack::{self, UnpackError};
use proofmark_packager::{Artifact, Bundle, Evidence};
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::input;

/// Write a submission to start from: it packs and builds as it is.
///
/// With the definition at hand, as a definition.json or in a FlashInfer-Trace data set, the entry
/// function gets its exact arguments. Without, it takes one input and one output.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark new my_operator
  proofmark new definitions/gdn/gdn_decode.json -o my-kernel
  proofmark new rmsnorm_h4096 --dataset flashinfer-trace --arch sm_90a")]
pub struct Arguments {
    /// A definition's name, or its definition.json.
    definition: String,
    /// The new folder [default: the definition's name].
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Where definitions are looked up by name [default: $FIB_DATASET_PATH].
    #[arg(long, value_name = "DIR")]
    dataset: Option<PathBuf>,
    /// What the build must come out as.
    #[arg(long, default_value_t = Arch::SM_100A)]
    arch: Arch,
    /// The team's name.
    #[arg(long, default_value = "your-team")]
    author: String,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let definition = find(arguments)?;
    let name = definition.as_ref().map_or(arguments.definition.as_str(), |(definition, _)| definition.name());
    let folder = match &arguments.output {
        Some(folder) => folder.clone(),
        None => folder_named(name)?,
    };
    let artifact = scaffold(arguments, name, definition.as_ref())?;
    let bundle = Bundle { artifact, evidence: Evidence::default() };
    let unpacked = unpack::unpack(&bundle, &folder).map_err(|error| match error {
        UnpackError::Occupied { .. } => Failure::request(error).hint("name a new folder with `-o`"),
        other => Failure::could_not_judge(other),
    })?;
    let files = unpacked.files;
    console.print(format!(
        "wrote {}\nnext     edit kernel.cu, then: proofmark seal {} -o out.zip",
        files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", "),
        folder.display(),
    ))?;
    console.document("proofmark.new", 1, &json!({ "folder": folder, "files": files, "definition": name }))?;
    Ok(ExitCode::Yes)
}

/// The folder for a definition: its name, where that is one plain component of a path.
fn folder_named(name: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(name);
    let mut components = path.components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == path.as_os_str() && !name.contains('\\') => {
            Ok(path.to_owned())
        }
        _ => Err(Failure::request(format!("the definition's name {name:?} cannot name a folder"))
            .hint("name the folder with `-o`")),
    }
}

/// The definition and its text, from a file or a data set; `None` if only the name is known.
fn find(arguments: &Arguments) -> Result<Option<(Definition, String)>, Failure> {
    if arguments.definition.is_empty() {
        return Err(Failure::request(
            "the argument DEFINITION is empty: expected a definition's name or its definition.json",
        ));
    }
    let path = Path::new(&arguments.definition);
    if path.is_file() || path.extension().is_some_and(|extension| extension == "json") {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::request(format!("cannot read {}: {error}", path.display())))?;
        let definition = Definition::from_json(&text)
            .map_err(|error| Failure::request(format!("{}: {error}", path.display())))?;
        return Ok(Some((definition, text)));
    }
    let Some(dataset) = input::dataset(arguments.dataset.as_deref())? else {
        return Ok(None);
    };
    let definition = dataset.definition(&arguments.definition).map_err(Failure::request)?;
    let text = serde_json::to_string_pretty(&definition).map_err(Failure::could_not_judge)?;
    Ok(Some((definition.clone(), text)))
}

/// Refuses an operator whose results cannot be written to tensors that the caller hands in.
fn check_outputs(definition: &Definition) -> Result<(), Failure> {
    let scalars = definition.outputs().iter().filter(|(_, spec)| spec.shape.is_none());
    let scalars: Vec<_> = scalars.map(|(name, _)| format!("{name:?}")).collect();
    let found = if definition.outputs().iter().next().is_none() {
        "no output".to_owned()
    } else if scalars.is_empty() {
        return Ok(());
    } else {
        format!("outputs that are scalars ({})", scalars.join(", "))
    };
    Err(Failure::request(format!(
        "definition {:?} has {found}: a scaffold writes its results to tensors that the caller passes in, so it \
         needs tensor outputs",
        definition.name(),
    )))
}

fn scaffold(
    arguments: &Arguments,
    name: &str,
    definition: Option<&(Definition, String)>,
) -> Result<Artifact, Failure> {
    if let Some((definition, _)) = definition {
        check_outputs(definition)?;
    }
    let kernel = match definition {
        Some((definition, _)) => kernel_text(
            &definition.inputs().iter().map(|(name, spec)| parameter(name, spec)).collect::<Vec<_>>(),
            &definition.outputs().iter().map(|(name, spec)| parameter(name, spec)).collect::<Vec<_>>(),
        ),
        None => kernel_text(&[tensor("input", false)], &[tensor("output", false)]),
    };
    // Through the reader of solution.json: a scaffold obeys the rules that it teaches.
    let solution = json!({
        "name": format!("{name}-v1"), "definition": name, "author": arguments.author, "description": "",
        "spec": {
            "language": "cuda", "target_hardware": ["cuda"], "entry_point": "kernel.cu::run",
            "destination_passing_style": true, "binding": "tvm-ffi",
        },
        "sources": [{ "path": "kernel.cu", "content": kernel }],
    });
    let bare = solution::read(&solution.to_string()).map_err(Failure::request)?;
    let manifest = bare.manifest().clone();
    Artifact::pack(Submission {
        solution: manifest.solution,
        build: manifest.build,
        target: Target { arch: arguments.arch, nvcc_flags: Vec::new() },
        sources: bare.sources().to_vec(),
        definition: definition.map(|(_, text)| text.clone()),
        workloads: None,
        reference: None,
        unknown: manifest.unknown,
    })
    .map_err(|violations| Failure::request(violations.to_string()))
}

struct Parameter {
    declaration: String,
    name: String,
    is_tensor: bool,
    is_optional: bool,
}

fn tensor(name: &str, is_optional: bool) -> Parameter {
    let kind = if is_optional { "tvm::ffi::Optional<tvm::ffi::TensorView>" } else { "tvm::ffi::TensorView" };
    Parameter { declaration: format!("{kind} {name}"), name: name.to_owned(), is_tensor: true, is_optional }
}

fn parameter(name: &str, spec: &TensorSpec) -> Parameter {
    let name: String = name.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '_' }).collect();
    // A trailing underscore keeps names such as `float` or `1d` legal without a list of keywords.
    let name = format!("{name}_");
    if spec.shape.is_some() {
        return tensor(&name, spec.optional);
    }
    let kind = match spec.dtype {
        Dtype::Bool => "bool",
        dtype if dtype.is_float() => "double",
        _ => "int64_t",
    };
    Parameter { declaration: format!("{kind} {name}"), name, is_tensor: false, is_optional: false }
}

fn kernel_text(inputs: &[Parameter], outputs: &[Parameter]) -> String {
    let declarations: Vec<_> =
        inputs.iter().chain(outputs).map(|parameter| format!("    {}", parameter.declaration)).collect();
    let mut body = String::new();
    for unused in inputs.iter().filter(|input| !input.is_tensor || input.is_optional) {
        let _ = writeln!(body, "  (void){};", unused.name);
    }
    for output in outputs {
        let _ = writeln!(body, "  fill({}, stream);", output.name);
    }
    let first = outputs.first().map_or("", |output| output.name.as_str());
    format!(
        "\
// The entry function gets its inputs, then its outputs, in the definition's order. As it stands it
// fills every output with zero bytes: replace the kernel with the real computation.

#include <cuda_runtime.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/optional.h>

namespace {{

__global__ void fill_kernel(unsigned char* bytes, int64_t count) {{
  int64_t index = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  if (index < count) {{
    bytes[index] = 0;
  }}
}}

void fill(tvm::ffi::TensorView tensor, cudaStream_t stream) {{
  int64_t count = tensor.numel() * tensor.dtype().bits / 8;
  constexpr int kThreads = 256;
  if (count > 0) {{
    auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
    fill_kernel<<<blocks, kThreads, 0, stream>>>(static_cast<unsigned char*>(tensor.data_ptr()), count);
  }}
}}

void run(
{}) {{
  // The caller's stream: work on any other is not timed, and not trusted.
  auto device = {first}.device();
  auto stream = static_cast<cudaStream_t>(TVMFFIEnvGetStream(device.device_type, device.device_id));
{body}  cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess) {{
    TVM_FFI_THROW(RuntimeError) << cudaGetErrorString(status);
  }}
}}

}}  // namespace

TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, run)
",
        declarations.join(",\n"),
    )
}
