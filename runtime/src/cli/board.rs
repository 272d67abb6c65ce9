//! What a board takes, made from an artifact: the file's text, its usual name, and what was done on the way.

use std::path::Path;

use clap::Args;
use proofmark_packager::Artifact;
use proofmark_packager::interop::popcorn::{self, Leaderboard, submission};
use proofmark_packager::interop::torch_binding::{self, CallersStream};
use proofmark_packager::interop::{Invalid, arity, flashinfer, solexec};

use super::failure::Failure;
use crate::python::interpreter::DEFAULT_PYTHON;
use crate::python::syntax::{self, Reach, Syntax};

/// A board, and the file that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Board {
    /// FlashInfer-Bench's solution.json.
    Flashinfer,
    /// NVIDIA SOL-ExecBench's solution.json.
    SolExecbench,
    /// GPU MODE's submission.py.
    Popcorn,
}

/// Where a submission for GPU MODE goes.
#[derive(Debug, Args)]
pub struct LeaderboardOptions {
    /// The leaderboard, with --format popcorn.
    #[arg(long, value_name = "NAME")]
    leaderboard: Option<String>,
    /// The GPUs to run on, with --format popcorn, such as `B200`.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    gpus: Vec<String>,
}

impl LeaderboardOptions {
    /// Refuses options of GPU MODE's board where the file is for another.
    pub fn refuse_unless(&self, board: Option<Board>) -> Result<(), Failure> {
        let named = if self.leaderboard.is_some() { "--leaderboard" } else { "--gpus" };
        if board == Some(Board::Popcorn) || (self.leaderboard.is_none() && self.gpus.is_empty()) {
            return Ok(());
        }
        Err(Failure::request(format!("{named} is for a file of GPU MODE, and another is packed"))
            .hint(format!("`--format popcorn` packs one; leave {named} out for any other")))
    }
}

/// A file for a board.
#[derive(Debug)]
pub struct BoardFile {
    /// The text.
    pub text: String,
    /// The name that this board's files have.
    pub name: &'static str,
    /// What was done on the way.
    pub notes: Vec<String>,
}

/// Writes what a board takes, or says everything that it would not take.
pub fn file(board: Board, artifact: &Artifact, options: &LeaderboardOptions) -> Result<BoardFile, Failure> {
    match board {
        Board::Flashinfer => {
            let text = flashinfer::solution::write(artifact);
            Ok(BoardFile { text, name: "solution.json", notes: Vec::new() })
        }
        Board::SolExecbench => sol_execbench(artifact),
        Board::Popcorn => popcorn(artifact, options),
    }
}

fn popcorn(artifact: &Artifact, options: &LeaderboardOptions) -> Result<BoardFile, Failure> {
    let leaderboard = leaderboard(options)?;
    let mut packed = submission::write(artifact, &leaderboard).map_err(|invalid| refused(&invalid))?;
    if artifact.manifest().build.entry_point.symbol != submission::ENTRY {
        packed.notes.extend(arity::note(artifact));
    }
    if !artifact.manifest().build.language.is_compiled() {
        for source in artifact.sources() {
            packed.notes.extend(syntax_of(source.path.as_str(), &source.content)?);
        }
    }
    Ok(BoardFile { text: packed.text, name: "submission.py", notes: packed.notes })
}

/// What this machine's Python says of a file: a refusal, a note where another may read it, or nothing.
fn syntax_of(path: &str, text: &str) -> Result<Option<String>, Failure> {
    match syntax::check(Path::new(DEFAULT_PYTHON), text) {
        Syntax::Valid => Ok(None),
        Syntax::Unasked => {
            Ok(Some(format!("nobody checked that {path} is Python: there is no {DEFAULT_PYTHON} here")))
        }
        Syntax::Invalid { line, message, version, reach } => {
            let said = format!("{path} line {line}: Python {version} does not read it: {message}");
            match reach {
                Reach::Own => Ok(Some(said)),
                Reach::Later => Ok(Some(format!("{said}; no later Python does"))),
                Reach::Boards => Err(Failure::request(said)),
            }
        }
    }
}

fn sol_execbench(artifact: &Artifact) -> Result<BoardFile, Failure> {
    let mut notes = Vec::new();
    let bound;
    let taken = if torch_binding::is_needed(artifact) {
        bound = torch_binding::bind(artifact, CallersStream::Current).map_err(|invalid| refused(&invalid))?;
        notes.push(format!("{} was made from the definition's signature", torch_binding::EXTENSION_NAME));
        &bound
    } else {
        artifact
    };
    let text = solexec::solution::write(taken).map_err(|invalid| refused(&invalid))?;
    notes.extend(solexec::solution::notes(taken));
    notes.extend(arity::note(artifact));
    Ok(BoardFile { text, name: "solution.json", notes })
}

fn leaderboard(options: &LeaderboardOptions) -> Result<Leaderboard, Failure> {
    const WAY_OUT: &str = "`--leaderboard NAME --gpus B200` names both";
    let missing = |option: &str| {
        let told = format!("a leaderboard's file names its leaderboard and its GPUs: {option} is missing");
        Failure::request(told).hint(WAY_OUT)
    };
    let name = options.leaderboard.as_deref().ok_or_else(|| missing("--leaderboard"))?;
    if options.gpus.is_empty() {
        return Err(missing("--gpus"));
    }
    popcorn::Leaderboard::new(name, &options.gpus).map_err(|error| Failure::request(error).hint(WAY_OUT))
}

fn refused(invalid: &Invalid) -> Failure {
    // What is made for a board needs what the board itself does not ask for.
    if invalid.violations.iter().any(|one| one.place == torch_binding::DEFINITION_PLACE) {
        let text =
            format!("the file for the board cannot be made of this {}:{}", invalid.document, invalid.lines());
        return Failure::request(text).hint(
            "put the definition.json into the submission's folder; of a single file `proofmark unpack FILE -o DIR` makes \
             one",
        );
    }
    Failure::request(format!("the board would not take this {}:{}", invalid.document, invalid.lines()))
}
