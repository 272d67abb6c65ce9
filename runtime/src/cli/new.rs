//! `proofmark new`: a submission to start from.

mod problem;

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use clap::Args;
use proofmark_packager::Arch;
use proofmark_packager::interop::flashinfer::{Definition, Dtype, TensorSpec, Trace, Workload, solution};
use proofmark_packager::interop::{popcorn, solexec};
use proofmark_packager::submission::{CONFIG_NAME, Submission, Target, WORKLOADS_NAME};
use proofmark_packager::unpack::{self, UnpackError, Unpacked};
use proofmark_packager::{Artifact, Bundle, Evidence};
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::input;
use super::output::OTHER_FOLDER;

/// Write a submission to start from: it packs and builds as it is.
///
/// With the definition at hand, as a definition.json of either board, in a FlashInfer-Trace data set or as a
/// problem's folder of SOL-ExecBench, the entry function gets its exact arguments, and the workloads come along.
/// Without, it takes one input and one output. The folder has the layout of the contest's kit.
///
/// A problem of SOL-ExecBench is said in FlashInfer-Bench's terms: axes that are expressions get their
/// values in each workload, and each workload keeps its tolerance. A problem of GPU MODE gives its template,
/// or with --signature a kernel and a task that `bench` measures: the problem's own Python makes the inputs and
/// says what is right.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark new my_operator
  proofmark new definitions/gdn/gdn_decode.json -o my-kernel
  proofmark new SOL-ExecBench/examples/cuda_cpp/rmsnorm -o my-kernel
  proofmark new problems/pmpp_v2/vectoradd_py --signature 'a: float16[size, size], b: float16[size, size] -> c: float16[size, size]'
  proofmark new rmsnorm_h4096 --dataset flashinfer-trace --arch sm_90a")]
pub struct Arguments {
    /// A definition's name, its definition.json, or a problem's folder of SOL-ExecBench or GPU MODE.
    definition: String,
    /// The new folder [default: the definition's name].
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Where definitions are looked up by name [default: $FIB_DATASET_PATH].
    #[arg(long, value_name = "DIR")]
    dataset: Option<PathBuf>,
    /// What the data and the answer of a problem of GPU MODE hold: `x: float16[rows, 128] -> y: float32[rows]`.
    /// Dimensions are the problem's arguments or numbers; what stands on both sides is an output's buffer.
    #[arg(long, value_name = "INPUTS -> OUTPUTS")]
    signature: Option<popcorn::Signature>,
    /// What the build must come out as.
    #[arg(long, default_value_t = Arch::SM_100A)]
    arch: Arch,
    /// The team's name.
    #[arg(long, default_value = "your-team")]
    author: String,
}

/// Largest definition or list of workloads that is read, in bytes: the packer takes no larger one.
const LARGEST_TEXT_BYTES: u64 = 16 << 20;

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let place = Path::new(&arguments.definition);
    let is_gpu_mode = popcorn::Problem::is_at(place);
    if arguments.signature.is_some() && !is_gpu_mode {
        return Err(Failure::request("a signature is for a problem of GPU MODE")
            .hint("name its folder, with task.yml and reference.py in it"));
    }
    if is_gpu_mode && arguments.signature.is_none() {
        return problem::of_gpu_mode(arguments, place, console);
    }
    let operator = find(arguments, console)?;
    let name = operator.as_ref().map_or(arguments.definition.as_str(), |known| known.definition.name());
    let folder = match &arguments.output {
        Some(folder) => folder.clone(),
        None => folder_named(name)?,
    };
    let artifact = scaffold(arguments, name, operator.as_ref())?;
    let lacks_workloads = artifact.workloads().is_none_or(str::is_empty);
    let kernel = artifact.manifest().build.entry_point.file.clone();
    let unpacked = write(artifact, &folder)?;
    let mut notes = operator.as_ref().map(|known| known.notes.clone()).unwrap_or_default();
    if operator.is_none() {
        let unknown = format!(
            "the definition {name:?} is not known here: the kernel takes one input and one output; its \
             definition.json, or --dataset, gives it the right ones"
        );
        console.say(format!("note: {unknown}"));
        notes.push(unknown);
    } else if lacks_workloads {
        let none = format!(
            "no workloads of {name:?} are known, and measuring needs them: in a {WORKLOADS_NAME} beside the definition, \
             or from --dataset"
        );
        console.say(format!("note: {none}"));
        notes.push(none);
    }
    let edited = unpacked.files.iter().find(|file| file.ends_with(kernel.as_str()));
    let edited = edited.map_or_else(|| kernel.to_string(), crate::path_text::text);
    let files: Vec<_> = unpacked.files.iter().map(crate::path_text::text).collect();
    console.print(format!(
        "wrote {}\nnext     edit {edited}, then: proofmark seal {} -o out.zip",
        files.join(", "),
        folder.display(),
    ))?;
    let body = json!({
        "folder": crate::path_text::text(&folder), "files": files, "definition": name, "definition_is_known": operator.is_some(), "notes": notes,
    });
    console.document("proofmark.new", 1, &body)?;
    Ok(ExitCode::Yes)
}

/// Writes the submission's folder.
fn write(artifact: Artifact, folder: &Path) -> Result<Unpacked, Failure> {
    let bundle = Bundle { artifact, evidence: Evidence::default() };
    unpack::unpack(&bundle, folder).map_err(|error| match error {
        UnpackError::Occupied { .. } => Failure::request(error).hint("name a new folder with `-o`"),
        other => Failure::could_not_judge(other).hint(OTHER_FOLDER),
    })
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

/// What is known of the operator to write a kernel for.
struct Operator {
    definition: Definition,
    /// The text of its `definition.json`.
    text: String,
    /// The text of its `workloads.jsonl`; empty without any.
    workloads: String,
    /// What was left out on the way, said already.
    notes: Vec<String>,
}

/// The operator, from a file or a data set; `None` if only the name is known.
fn find(arguments: &Arguments, console: &Console) -> Result<Option<Operator>, Failure> {
    if arguments.definition.is_empty() {
        return Err(Failure::request(
            "the argument DEFINITION is empty: expected a definition's name or its definition.json",
        ));
    }
    let path = Path::new(&arguments.definition);
    if let Some(signature) = &arguments.signature {
        return problem::of_signature(path, signature, console).map(Some);
    }
    if solexec::Problem::is_at(path) {
        return problem::of_sol_execbench(path, console).map(Some);
    }
    let dataset = input::dataset(arguments.dataset.as_deref())?;
    // A name has no separator; and a folder is meant where no data set knows the name, but for one that was begun
    // under it.
    let is_begun = path.join(CONFIG_NAME).is_file();
    if arguments.definition.contains('/') || (path.is_dir() && dataset.is_none() && !is_begun) {
        check_path(path)?;
    }
    if is_file_of_problem(path) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let text = format!("{} is one file of a problem: expected the problem's folder", path.display());
        return Err(Failure::request(text).hint(format!("`proofmark new {}`", folder.display())));
    }
    if path.is_file() || path.extension().is_some_and(|extension| extension == "json") {
        let text = read_text(path)?;
        let definition = match (Definition::from_json(&text), solexec::Definition::from_json(&text)) {
            (Ok(definition), _) => definition,
            (Err(_), Ok(theirs)) => return problem::of_sol_definition(path, theirs, console).map(Some),
            (Err(error), Err(_)) => {
                return Err(Failure::request(format!("{}: {error}", path.display())));
            }
        };
        let workloads = workloads_beside(path, definition.name())?;
        return Ok(Some(Operator { definition, text, workloads, notes: Vec::new() }));
    }
    let Some(dataset) = dataset else {
        return Ok(None);
    };
    let definition = dataset.definition(&arguments.definition).map_err(Failure::request)?;
    let text = serde_json::to_string_pretty(&definition).map_err(Failure::could_not_judge)?;
    let workloads = dataset.workloads(definition.name()).map_err(Failure::request)?;
    let workloads = lines_of(definition, workloads);
    Ok(Some(Operator { definition: definition.clone(), text, workloads, notes: Vec::new() }))
}

/// Refuses a path at which nothing stands that can be begun with, and says what is missing there.
fn check_path(path: &Path) -> Result<(), Failure> {
    const PROBLEMS: &str =
        "SOL-ExecBench's holds definition.json and workload.jsonl, GPU MODE's task.yml and reference.py";
    const NAME: &str = "a definition's name has no `/`; with --dataset it is looked up";
    if path.is_file() {
        return Ok(());
    }
    if !path.is_dir() {
        return Err(Failure::request(format!("nothing stands at {}", path.display())).hint(NAME));
    }
    let has = |name: &str| path.join(name).is_file();
    for pair in [
        [solexec::problem::DEFINITION_NAME, solexec::problem::WORKLOADS_NAME],
        [popcorn::problem::TASK_NAME, popcorn::problem::REFERENCE_NAME],
    ] {
        for (here, missing) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            if has(here) && !has(missing) {
                let text = format!("{} holds {here}, but no {missing}", path.display());
                let failure = Failure::request(text).hint(PROBLEMS);
                return Err(if here == solexec::problem::DEFINITION_NAME {
                    failure.hint(format!("without workloads: `proofmark new {}`", path.join(here).display()))
                } else {
                    failure
                });
            }
        }
    }
    Err(Failure::request(format!("{} is a folder, and no problem's", path.display())).hint(PROBLEMS))
}

/// Whether a file is a part of a board's problem, which is named by its folder.
fn is_file_of_problem(path: &Path) -> bool {
    let names =
        [popcorn::problem::TASK_NAME, popcorn::problem::REFERENCE_NAME, solexec::problem::WORKLOADS_NAME];
    path.is_file() && names.iter().any(|name| path.file_name().is_some_and(|found| found == *name))
}

/// A `workloads.jsonl`.
fn lines_of(definition: &Definition, workloads: Vec<Workload>) -> String {
    let traces = workloads.into_iter().filter_map(|one| Trace::of_workload(definition.name(), one));
    traces.map(|trace| trace.to_line() + "\n").collect()
}

/// Reads a file of the size that a definition or its workloads can have.
fn read_text(path: &Path) -> Result<String, Failure> {
    let cannot = |error: std::io::Error| Failure::request(format!("cannot read {}: {error}", path.display()));
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err(Failure::request(format!("{} is not a file", path.display())));
    }
    if metadata.len() > LARGEST_TEXT_BYTES {
        let found = metadata.len();
        let text = format!("{} is {found} bytes: expected at most {LARGEST_TEXT_BYTES}", path.display());
        return Err(Failure::request(text));
    }
    std::fs::read_to_string(path).map_err(cannot)
}

/// The lines of the `workloads.jsonl` beside a definition that belong to it, if there is one.
fn workloads_beside(definition: &Path, name: &str) -> Result<String, Failure> {
    let path = definition.with_file_name(WORKLOADS_NAME);
    if path.symlink_metadata().is_err() {
        return Ok(String::new());
    }
    let text = read_text(&path)?;
    let mut lines = String::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let trace = Trace::from_json(line)
            .map_err(|error| Failure::request(format!("{}, line {}: {error}", path.display(), index + 1)))?;
        if trace.definition() == name && trace.is_workload() {
            lines += line;
            lines.push('\n');
        }
    }
    Ok(lines)
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

fn scaffold(arguments: &Arguments, name: &str, operator: Option<&Operator>) -> Result<Artifact, Failure> {
    if let Some(Operator { definition, .. }) = operator {
        check_outputs(definition)?;
    }
    let kernel = match operator {
        Some(Operator { definition, .. }) => kernel_text(
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
            "destination_passing_style": true, "binding": null,
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
        definition: operator.map(|known| known.text.clone()),
        workloads: operator.map(|known| known.workloads.clone()).filter(|lines| !lines.is_empty()),
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
