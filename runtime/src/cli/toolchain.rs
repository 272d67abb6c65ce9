//! `proofmark toolchain`: what builds are made with.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::progress::InstallDisplay;
use crate::path_text;
use crate::python::interpreter::DEFAULT_PYTHON;
use crate::toolchain::data_folder::DataFolder;
use crate::toolchain::install::{Existing, WheelSource};
use crate::toolchain::lock_file::{Component, ComponentName};
use crate::toolchain::search::candidates;
use crate::toolchain::{
    FileDigests, InstallError, InstallRequest, KitName, Origin, Search, Toolkit, install,
};

/// Install, or list, the compilers that builds are made with.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: ToolchainAction,
}

#[derive(Debug, Subcommand)]
enum ToolchainAction {
    Install(Install),
    List(List),
}

/// Install the pinned CUDA compiler and TVM-FFI into Proofmark's own data folder.
///
/// Nothing outside of that folder is touched, no rights are needed, and no GPU. The wheels come
/// through your own pip, with the index that it is set up for, and each must have the pinned
/// SHA-256.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark toolchain install
  proofmark toolchain install --only tvm-ffi        beside a CUDA that is there already
  proofmark toolchain install --only torch          headers for a torch binding
  proofmark toolchain install --wheels ./wheels     on a machine without a network")]
struct Install {
    /// Where to install: by default ~/.local/share/proofmark.
    #[arg(long, value_name = "FOLDER", env = "PROOFMARK_DATA")]
    data_dir: Option<PathBuf>,
    /// Install one component alone: cuda, tvm-ffi, or a kit, which is headers that some submissions include.
    #[arg(long, value_name = "COMPONENT", value_parser = PossibleValuesParser::new(ComponentName::all().map(ComponentName::as_str)))]
    only: Option<String>,
    /// Take the wheels from this folder instead of from pip.
    #[arg(long, value_name = "FOLDER")]
    wheels: Option<PathBuf>,
    /// The Python whose pip fetches the wheels.
    #[arg(long, value_name = "PROGRAM", default_value = DEFAULT_PYTHON, conflicts_with = "wheels")]
    python: PathBuf,
    /// Install again what is installed already.
    #[arg(long)]
    force: bool,
}

/// List every compiler that was found, in the order in which builds choose, and what is pinned.
#[derive(Debug, Args)]
struct List {
    /// Look for the pinned components in this folder.
    #[arg(long, value_name = "FOLDER", env = "PROOFMARK_DATA")]
    data_dir: Option<PathBuf>,
    /// Put this CUDA installation first.
    #[arg(long, value_name = "FOLDER")]
    cuda_home: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    match &arguments.action {
        ToolchainAction::Install(arguments) => run_install(arguments, console),
        ToolchainAction::List(arguments) => run_list(arguments, console),
    }
}

fn search(data_dir: Option<&PathBuf>) -> Search {
    let mut search = Search::from_environment();
    if let Some(folder) = data_dir {
        search.data = Some(DataFolder::at(folder));
    }
    search
}

fn run_install(arguments: &Install, console: &Console) -> Result<ExitCode, Failure> {
    let search = search(arguments.data_dir.as_ref());
    let data = search.data.ok_or_else(|| {
        Failure::request("no folder to install into: HOME is not set").hint("name one with --data-dir")
    })?;
    let components = match arguments.only.as_deref().and_then(ComponentName::named) {
        Some(only) => vec![only],
        None => ComponentName::TOOLCHAIN.to_vec(),
    };
    let request = InstallRequest {
        data,
        machine: search.machine,
        components,
        wheels: match &arguments.wheels {
            Some(folder) => WheelSource::Folder(folder.clone()),
            None => WheelSource::Pip { python: arguments.python.clone() },
        },
        existing: if arguments.force { Existing::Replace } else { Existing::Keep },
    };
    let mut progress = InstallDisplay::new(*console);
    let folders = install(&request, &mut progress).map_err(failure)?;
    progress.finish();
    for folder in &folders {
        console.print(folder.display().to_string())?;
    }
    console.document(
        "proofmark.toolchain.install",
        1,
        &json!({ "folders": folders.iter().map(path_text::text).collect::<Vec<_>>() }),
    )?;
    Ok(ExitCode::Yes)
}

/// Words the failure of an installation.
fn failure(error: InstallError) -> Failure {
    let ways_out = error.ways_out();
    ways_out.into_iter().fold(Failure::could_not_judge(error), Failure::hint)
}

fn run_list(arguments: &List, console: &Console) -> Result<ExitCode, Failure> {
    let mut search = search(arguments.data_dir.as_ref());
    search.cuda_home.clone_from(&arguments.cuda_home);
    let mut digests = FileDigests::forgetful();
    let mut found = Vec::new();
    for candidate in candidates(&search) {
        let toolkit = Toolkit::open(&candidate.home, &search.machine, &mut digests);
        let state = match &toolkit {
            Ok(toolkit) => format!("CUDA {}", toolkit.release),
            Err(fault) => format!("unusable: {fault}"),
        };
        console.print(format!("{state:<14}  {}  ({})", candidate.home.display(), candidate.origin))?;
        found.push(describe(&candidate.origin, &candidate.home, &toolkit));
    }
    if found.is_empty() {
        console.print("no CUDA compiler")?;
    }
    let pinned = list_pinned(&search, ComponentName::TOOLCHAIN, console)?;
    let kits = list_pinned(&search, KitName::PINNED.map(ComponentName::Kit), console)?;
    let partial = search.data.as_ref().and_then(|data| data.partial().ok()).unwrap_or_default();
    for folder in &partial {
        console.print(format!("unfinished installation: {}", folder.display()))?;
    }
    let body = json!({ "toolkits": found, "pinned": pinned, "kits": kits, "unfinished": partial.iter().map(path_text::text).collect::<Vec<_>>() });
    console.document("proofmark.toolchain.list", 1, &body)?;
    Ok(ExitCode::Yes)
}

fn describe(
    origin: &Origin,
    home: &std::path::Path,
    toolkit: &Result<Toolkit, crate::toolchain::ToolkitFault>,
) -> Value {
    let (release, fault) = match toolkit {
        Ok(toolkit) => (Some(toolkit.release), None),
        Err(fault) => (None, Some(fault.to_string())),
    };
    json!({ "origin": origin, "home": path_text::text(home), "usable": fault.is_none(), "release": release, "fault": fault })
}

fn list_pinned(
    search: &Search,
    names: impl IntoIterator<Item = ComponentName>,
    console: &Console,
) -> Result<Vec<Value>, Failure> {
    let mut listed = Vec::new();
    for component in names.into_iter().filter_map(|name| Component::pinned(name, &search.machine)) {
        let folder = search.data.as_ref().and_then(|data| data.installed(component.name, &search.machine));
        let state = match &folder {
            Some(folder) => format!("installed in {}", folder.display()),
            None if matches!(component.name, ComponentName::Kit(_)) => format!(
                "not installed; {} to fetch when a submission includes it",
                HumanBytes(component.download_bytes())
            ),
            None => format!(
                "not installed; {} to fetch with `proofmark toolchain install`",
                HumanBytes(component.download_bytes())
            ),
        };
        let kind = if matches!(component.name, ComponentName::Kit(_)) { "kit" } else { "pinned" };
        console.print(format!("{kind} {} {}: {state}", component.name.as_str(), component.version))?;
        let wheels = component.wheels.iter().map(
            |wheel| json!({ "file": wheel.file, "sha256": wheel.sha256, "size_bytes": wheel.size_bytes }),
        );
        listed.push(json!({
            "component": component.name.as_str(),
            "version": component.version,
            "folder": folder.as_ref().map(path_text::text),
            "wheels": wheels.collect::<Vec<_>>(),
        }));
    }
    Ok(listed)
}
