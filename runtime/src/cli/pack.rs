//! `proofmark pack`: a submission becomes one sealed-off file.

use std::iter;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use proofmark_packager::interop::flashinfer::solution::{self, SolutionHashes};
use proofmark_packager::interop::python_surface;
use proofmark_packager::interop::solexec::FlagsBeside;
use proofmark_packager::submission::Note;
use proofmark_packager::{Arch, Artifact, Bundle, Digest, Evidence, Opened, bundle};
use serde::Serialize;

use super::board::{self, Board, LeaderboardOptions};
use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::{input, output, protected};
use crate::build::{BuildRequest, FlagRefusal, Flags};

/// Pack a submission into one self-contained file
///
/// Reads `config.toml` as the contest's starter kit has it, with the sources in
/// `solution/<language>/` or beside it; a folder of several submissions packs each. Our own table
/// is ignored by other tools:
///
///   [target]
///   arch = "sm_100a"              # what the build must come out as
///   nvcc_flags = ["-use_fast_math"]
///
///   [sol-execbench]               # what its solution.json says beside
///   languages = ["cutlass"]
///   cflags = ["-O2"]
///   ld_flags = ["-lcuda"]
///
/// The same folder gives the same bytes, and the contest's solution.json is inside.
///
/// SOL-ExecBench and GPU MODE call torch extensions: for them a kernel with a TVM-FFI entry gets one,
/// made from the definition's signature. Their files ask for the one architecture by name.
///
/// The rules:
///
///   [solution] name, definition, author     required, no control characters
///   [solution] description                  line feeds and tabs allowed
///   [build] language                        python, triton, cpp, cuda or tilelang
///   [build] entry_point                     file::function, such as "kernel.cu::run"
///   [build] binding                         "tvm-ffi" or "torch"
///   [target] arch, nvcc_flags               any other key here is refused
///   [sol-execbench] languages, cflags, ld_flags    so here
///   entry file                              among the sources, not empty
///   sources                                 UTF-8 without NUL, at most 8 MiB each, 32 MiB in all
///   .py .cu .cuh .cpp .c .h .hpp .cc .cxx   packed from the top folder and the entry file's
///   other files                             packed where an #include "..." reaches them, or an
///                                           #include <...> from the top folder or an -I flag's
///   #include "../x.h"                       must not lead outside the folder
///   links                                   must end inside the folder
///   paths                                   must not differ only in case, no file also a folder
///   definition.json, workloads.jsonl        of the same definition as config.toml; where the
///                                           folder has none, from the task folder around it
///   ../reference                            the reference, where ../definition.json names the
///                                           submission's definition: packed as well
///   CRLF line ends, empty files             packed as LF, and as one line feed
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:
  proofmark pack my-kernel                          writes <name>-<digest12>.zip here
  proofmark pack my-kernel -o out.zip
  proofmark pack my-kernel -o solution.json         FlashInfer-Bench's file
  proofmark pack my-kernel --format sol-execbench -o solution.json
  proofmark pack my-kernel --format popcorn --leaderboard NAME --gpus B200
  proofmark pack my-kernel --surface python -o solution.json
  proofmark pack . --definition rmsnorm_h4096       the one of several"
)]
pub struct Arguments {
    /// Submission folder, artifact or solution.json.
    path: PathBuf,
    /// Where to write; a folder if several are packed, `-` for stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What to write [default: flashinfer where the output's name ends in .json, else zip].
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Pack the kernel as a Python entry that compiles it for `[target] arch` alone and checks the bytes.
    #[arg(long, value_enum)]
    surface: Option<Surface>,
    #[command(flatten)]
    leaderboard: LeaderboardOptions,
    /// Pack only the submission for this definition.
    #[arg(long, value_name = "NAME")]
    definition: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Format {
    /// The artifact.
    Zip,
    /// FlashInfer-Bench's solution.json.
    Flashinfer,
    /// NVIDIA SOL-ExecBench's solution.json.
    SolExecbench,
    /// GPU MODE's submission.py.
    Popcorn,
}

/// How a kernel meets the board that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Surface {
    /// A Python entry beside the sources.
    Python,
}

impl Format {
    /// The board that takes it; none takes an artifact.
    fn board(self) -> Option<Board> {
        match self {
            Self::Zip => None,
            Self::Flashinfer => Some(Board::Flashinfer),
            Self::SolExecbench => Some(Board::SolExecbench),
            Self::Popcorn => Some(Board::Popcorn),
        }
    }
}

impl Arguments {
    /// The format as named, or as the output's name says.
    fn format(&self) -> Format {
        let is_json = |path: &PathBuf| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
        let by_name =
            if self.output.as_ref().is_some_and(is_json) { Format::Flashinfer } else { Format::Zip };
        self.format.unwrap_or(by_name)
    }
}

#[derive(Debug, Serialize)]
struct Packed {
    format: Format,
    digest: Digest,
    output: String,
    size_bytes: u64,
    sha256: Digest,
    flashinfer_hashes: SolutionHashes,
    sources: Vec<proofmark_packager::artifact::SourceEntry>,
    /// The reference's identity, if one was packed.
    reference: Option<Digest>,
    notes: Vec<Note>,
}

#[derive(Debug, Serialize)]
struct PackAnswer<'a> {
    /// The only artifact's fields, where there is one.
    #[serde(flatten)]
    one: Option<&'a Packed>,
    packed: &'a [Packed],
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    arguments.leaderboard.refuse_unless(arguments.format().board())?;
    let mut opened = input::open_all(&arguments.path, arguments.definition.as_deref(), console)?;
    if let Some(Surface::Python) = arguments.surface {
        for (_, one) in &mut opened {
            let surface = python_surface(&one.bundle.artifact).map_err(Failure::request)?;
            let artifact =
                Artifact::pack(surface).map_err(|violations| Failure::request(violations.to_string()))?;
            one.bundle = Bundle { artifact, evidence: Evidence::default() };
        }
    }
    let to_stdout = arguments.output.as_deref() == Some(Path::new("-"));
    let names_a_file = |path: &Path| {
        path.is_file()
            || path.extension().is_some_and(|end| end == "zip" || end == "json" || end == "py")
                && !path.is_dir()
    };
    if opened.len() > 1 && (to_stdout || arguments.output.as_deref().is_some_and(names_a_file)) {
        let text = format!(
            "{} holds {} submissions: expected a folder behind `-o`",
            arguments.path.display(),
            opened.len()
        );
        let way_out = match &arguments.definition {
            None => "`--definition NAME` packs one of them",
            Some(_) => "name one of the folders, or a folder behind `-o`",
        };
        return Err(Failure::request(text).hint(way_out));
    }
    let mut packed = Vec::new();
    for (place, one) in &opened {
        let artifact = &one.bundle.artifact;
        let mut notes = unbuildable(artifact, arguments.format())?;
        if arguments.format() == Format::Flashinfer {
            notes.extend(what_is_left_out(artifact));
        }
        for note in &notes {
            console.say(format!("note: {note}"));
        }
        packed.push(pack_one(arguments, one, place, opened.len(), notes, console)?);
    }
    // With `-o -` stdout belongs to the file.
    if !to_stdout {
        for one in &packed {
            console.print(describe(one))?;
        }
        let one = if packed.len() == 1 { packed.first() } else { None };
        console.document("proofmark.pack", 1, &PackAnswer { one, packed: &packed })?;
    }
    Ok(ExitCode::Yes)
}

/// What keeps Proofmark from building a submission: an artifact is for nothing else and refused, a board may take what
/// we do not.
fn unbuildable(artifact: &Artifact, format: Format) -> Result<Vec<String>, Failure> {
    let Err(refusals) = Flags::check(&BuildRequest::of(artifact).nvcc_flags) else { return Ok(Vec::new()) };
    if format == Format::Zip {
        let refusals: Vec<_> = refusals.iter().map(ToString::to_string).collect();
        return Err(Failure::request(format!("it would not build: {}", refusals.join("; ")))
            .hint("the flags that are accepted: `proofmark build --help`"));
    }
    let note =
        |refusal: &FlagRefusal| format!("it will not build here, so nobody proves what comes out: {refusal}");
    Ok(refusals.iter().map(note).collect())
}

/// A solution.json has no place for everything that an artifact holds.
fn what_is_left_out(artifact: &Artifact) -> Option<String> {
    let target = &artifact.manifest().target;
    let mut lost = Vec::new();
    if target.arch != Arch::SM_100A || !target.nvcc_flags.is_empty() {
        let words: Vec<_> = iter::once(target.arch.to_string()).chain(target.nvcc_flags.clone()).collect();
        lost.push(format!("[target] ({})", words.join(" ")));
    }
    let FlagsBeside { cflags, ld_flags } = FlagsBeside::of(artifact);
    let beside: Vec<_> = cflags.into_iter().chain(ld_flags).flatten().collect();
    if !beside.is_empty() {
        lost.push(format!("[sol-execbench] ({})", beside.join(" ")));
    }
    lost.extend(artifact.definition().map(|_| "definition.json".to_owned()));
    lost.extend(artifact.workloads().map(|_| "workloads.jsonl".to_owned()));
    lost.extend(artifact.reference().map(|_| "the reference".to_owned()));
    (!lost.is_empty()).then(|| {
        format!(
            "a solution.json cannot carry {}: what is read back from it has another digest",
            lost.join(", ")
        )
    })
}

fn pack_one(
    arguments: &Arguments,
    opened: &Opened,
    place: &Path,
    count: usize,
    mut said: Vec<String>,
    console: &Console,
) -> Result<Packed, Failure> {
    let artifact = &opened.bundle.artifact;
    let format = arguments.format();
    let (content, name) = match format.board() {
        None => (bundle::write(&opened.bundle), artifact.file_name()),
        Some(board) => {
            let file = board::file(board, artifact, &arguments.leaderboard)?;
            for note in &file.notes {
                console.say(format!("note: {note}"));
            }
            said.extend(file.notes);
            let folder = place.file_name().unwrap_or_default().to_string_lossy();
            let name = if count > 1 { format!("{folder}.{}", file.name) } else { file.name.to_owned() };
            (file.text.into_bytes(), name)
        }
    };
    let path = match &arguments.output {
        None => PathBuf::from(name),
        Some(folder) if count > 1 || folder.is_dir() => {
            std::fs::create_dir_all(folder).map_err(|error| {
                Failure::could_not_judge(format!("cannot create {}: {error}", folder.display()))
            })?;
            folder.join(name)
        }
        Some(file) => file.clone(),
    };
    if arguments.output.is_some() {
        protected::refuse(&path, &[place]).map_err(|failure| failure.hint("name another file with `-o`"))?;
    }
    let kept = (format == Format::Zip).then_some(&opened.bundle.evidence);
    let is_lost = |there: &Evidence| !there.is_empty() && Some(there) != kept;
    output::refuse_to_lose(&path, is_lost, "is a sealed artifact: its evidence would be lost")?;
    match &arguments.output {
        Some(_) => output::write_to(&path, &content)?,
        None => output::write_unnamed(&path, &content)?,
    }
    let written = crate::path_text::text(&path);
    let said = said.into_iter().map(|what| Note { path: written.clone(), what });
    Ok(Packed {
        format,
        digest: artifact.digest(),
        output: written.clone(),
        size_bytes: content.len() as u64,
        sha256: Digest::of_bytes(&content),
        flashinfer_hashes: solution::hashes(artifact),
        sources: artifact.manifest().sources.clone(),
        reference: artifact.manifest().reference,
        notes: opened.notes.iter().cloned().chain(said).collect(),
    })
}

fn describe(packed: &Packed) -> String {
    let Packed { format, digest, output, size_bytes, flashinfer_hashes: hashes, sources, reference, .. } =
        packed;
    let mut files: Vec<_> =
        sources.iter().map(|source| format!("  {:>9}  {}", source.size_bytes, source.path)).collect();
    files.extend(reference.map(|digest| format!("reference {digest}")));
    let named = match format {
        Format::Zip | Format::Flashinfer => {
            format!("flashinfer-bench hash   {} (0.1.2: {})\n", hashes.repository, hashes.release_0_1_2)
        }
        Format::SolExecbench | Format::Popcorn => String::new(),
    };
    format!("packed   {output} ({size_bytes} bytes)\ndigest   {digest}\n{named}sources\n{}", files.join("\n"))
}
