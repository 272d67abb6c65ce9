//! `proofmark skill`: what an agent needs to know to work with this program.

mod text;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::console::{Console, write_out};
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::output;

/// Tell an agent how to work with this program.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark skill show
  proofmark skill install                   for every agent, in this project
  proofmark skill install --agent codex --user")]
pub struct Arguments {
    #[command(subcommand)]
    verb: SkillVerb,
}

#[derive(Debug, Subcommand)]
enum SkillVerb {
    /// Print the skill's text.
    Show,
    /// Write the skill where agents look for skills.
    ///
    /// An older text of ours is replaced; a file that somebody changed is not.
    Install {
        /// Which agents [default: all].
        #[arg(long, value_enum, value_delimiter = ',')]
        agent: Vec<Agent>,
        /// The project's folder.
        #[arg(long, value_name = "DIR", default_value = ".")]
        project: PathBuf,
        /// For every project of this user, in the home folder.
        #[arg(long, conflicts_with = "project")]
        user: bool,
    },
}

/// Agents by the folder that they read skills from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Agent {
    /// `.claude/skills`.
    Claude,
    /// `.codex/skills`.
    Codex,
    /// `.agents/skills`, which several agents read.
    Agents,
}

impl Agent {
    const ALL: [Self; 3] = [Self::Claude, Self::Codex, Self::Agents];

    fn folder(self) -> &'static str {
        match self {
            Self::Claude => ".claude/skills",
            Self::Codex => ".codex/skills",
            Self::Agents => ".agents/skills",
        }
    }
}

/// The skill's file below an agent's folder.
const FILE: &str = "proofmark/SKILL.md";

/// What every text of ours has in its last line, before the digest of everything above it.
const MARK: &str = "<!-- written by proofmark, sha256 ";

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let text = sealed(&text::text());
    match &arguments.verb {
        SkillVerb::Show => {
            console.require_text("the skill")?;
            write_out(text.as_bytes())?;
        }
        SkillVerb::Install { agent, project, user } => {
            let root = if *user { home()? } else { project.clone() };
            if !root.is_dir() {
                return Err(Failure::request(format!("{} is no folder", root.display())));
            }
            let agents = if agent.is_empty() { &Agent::ALL[..] } else { agent };
            let mut files = Vec::new();
            for agent in agents {
                let path = root.join(agent.folder()).join(FILE);
                install(&path, &text)?;
                console.print(format!("wrote {}", path.display()))?;
                files.push(crate::path_text::text(&path));
            }
            console.document("proofmark.skill", 1, &json!({ "files": files }))?;
        }
    }
    Ok(ExitCode::Yes)
}

fn home() -> Result<PathBuf, Failure> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    home.map(PathBuf::from).ok_or_else(|| Failure::request("HOME is not set: name a folder with --project"))
}

/// The text with its own digest behind it, so that a changed one is known.
fn sealed(text: &str) -> String {
    format!("{text}{MARK}{} -->\n", proofmark_packager::Digest::of_bytes(text.as_bytes()))
}

/// Whether nobody changed a text of ours.
fn is_ours(text: &str) -> bool {
    text.rsplit_once(MARK).is_some_and(|(above, _)| sealed(above) == text)
}

fn install(path: &Path, text: &str) -> Result<(), Failure> {
    if std::fs::read_to_string(path).is_ok_and(|there| !is_ours(&there)) {
        let found = format!("{} was changed since it was written", path.display());
        return Err(
            Failure::request(found).hint("move it away first; `proofmark skill show` prints the text")
        );
    }
    let folder = path.parent().expect("a skill lies in a folder");
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::could_not_judge(format!("cannot create {}: {error}", folder.display())))?;
    output::write_file(path, text.as_bytes())
}
