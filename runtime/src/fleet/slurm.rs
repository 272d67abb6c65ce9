//! A plan on a Slurm cluster: an array of tasks, and a last one that puts results together.
//!
//! Slurm is asked by its programs alone. The scripts say everything in their own lines, so that they can be
//! read, kept and submitted by hand.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use proofmark_packager::escape;

/// Most tasks of an array, as clusters are configured that say nothing else: Slurm's `MaxArraySize` is 1001.
pub const MOST_TASKS: usize = 1000;

/// A name that Slurm gave.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SlurmId(String);

/// What is to be submitted. Every path is absolute.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// This program, where the nodes find it.
    pub program: PathBuf,
    /// The plan.
    pub plan: PathBuf,
    /// The folder of results, which all nodes see.
    pub results: PathBuf,
    /// Where commands run.
    pub folder: PathBuf,
    /// How many tasks share the plan.
    pub tasks: usize,
    /// How many of them run at once; `None` leaves that to the cluster.
    pub at_once: Option<usize>,
    /// Whether each task has a GPU.
    pub needs_gpu: bool,
    /// Processors of each task.
    pub processors: usize,
    /// More options for sbatch.
    pub sbatch: Vec<String>,
    /// More options for `fleet run`.
    pub run: Vec<String>,
    /// More options for `fleet reduce`.
    pub reduce: Vec<String>,
}

/// Why a plan cannot be handed to Slurm.
#[derive(Debug, thiserror::Error)]
pub enum SlurmError {
    /// A script cannot name it.
    #[error(
        "{text:?} cannot stand in a script for Slurm: expected a text of one line without quotes, backslashes and `%`"
    )]
    Unspeakable {
        /// The text.
        text: String,
    },
    /// There is no Slurm here.
    #[error("cannot start `{program}`")]
    NoProgram {
        /// What was looked for.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Slurm refused.
    #[error("`{program}` refused {script}: {said}")]
    Refused {
        /// What was asked.
        program: String,
        /// The script.
        script: String,
        /// What it said.
        said: String,
    },
}

impl Campaign {
    /// The script that every task runs.
    pub fn array_script(&self) -> Result<String, SlurmError> {
        let mut script = self.head("fleet", &self.log("%A_%a"))?;
        let at_once = self.at_once.map(|count| format!("%{count}")).unwrap_or_default();
        script += &format!("#SBATCH --array=0-{}{at_once}\n", self.tasks.saturating_sub(1));
        script += &format!("#SBATCH --cpus-per-task={}\n#SBATCH --requeue\n", self.processors);
        if self.needs_gpu {
            script += "#SBATCH --gres=gpu:1\n";
        }
        let workers = r#"--workers "${SLURM_CPUS_PER_TASK:-1}""#;
        let part = format!("--shard \"$SLURM_ARRAY_TASK_ID/{}\"", self.tasks);
        script += &self.last_line("run", &format!(" {part} {workers}"), &self.run)?;
        Ok(script)
    }

    /// The script that puts results together, whatever became of the tasks.
    pub fn reduce_script(&self) -> Result<String, SlurmError> {
        Ok(self.head("fleet-reduce", &self.log("reduce-%j"))?
            + &self.last_line("reduce", "", &self.reduce)?)
    }

    /// The folder of scripts and logs.
    pub fn scripts(&self) -> PathBuf {
        self.results.join("slurm")
    }

    fn log(&self, name: &str) -> String {
        // Names of Slurm's own come last: what stands before them is spoken plainly.
        format!("{}/{name}.log", self.scripts().display())
    }

    fn head(&self, name: &str, log: &str) -> Result<String, SlurmError> {
        let (folder, scripts) = (self.folder.display().to_string(), self.scripts().display().to_string());
        for text in [&folder, &scripts].into_iter().chain(&self.sbatch) {
            speakable(text)?;
        }
        let mut script = format!(
            "#!/bin/sh\n#SBATCH --job-name=proofmark-{name}\n#SBATCH --chdir=\"{folder}\"\n\
             #SBATCH --output=\"{log}\"\n#SBATCH --open-mode=append\n"
        );
        for option in &self.sbatch {
            script += &format!("#SBATCH {option}\n");
        }
        Ok(script)
    }

    fn last_line(&self, verb: &str, part: &str, more: &[String]) -> Result<String, SlurmError> {
        let paths = [&self.program, &self.plan, &self.results].map(|path| path.display().to_string());
        for text in paths.iter().chain(more) {
            speakable(text)?;
        }
        let [program, plan, results] = paths.map(|path| format!("'{path}'"));
        let mut line = format!("exec {program} fleet {verb} {plan} --results {results}{part}");
        for option in more {
            line += &format!(" '{option}'");
        }
        Ok(line + "\n")
    }
}

/// Refuses what would be something else in a script or in a file name of Slurm's.
fn speakable(text: &str) -> Result<(), SlurmError> {
    let is_plain = |one: char| !one.is_control() && !['\'', '"', '\\', '%', '\u{fffd}'].contains(&one);
    if text.chars().all(is_plain) { Ok(()) } else { Err(SlurmError::Unspeakable { text: text.to_owned() }) }
}

/// Submits a script, to run after another job has ended in whatever way.
pub fn submit(sbatch: &Path, script: &Path, after: Option<&SlurmId>) -> Result<SlurmId, SlurmError> {
    let mut command = Command::new(sbatch);
    command.arg("--parsable");
    if let Some(SlurmId(id)) = after {
        command.arg(format!("--dependency=afterany:{id}"));
    }
    let program = sbatch.display().to_string();
    let output = command.arg(script).output();
    let output = output.map_err(|source| SlurmError::NoProgram { program: program.clone(), source })?;
    id(&output).ok_or_else(|| SlurmError::Refused {
        program,
        script: script.file_name().unwrap_or(OsStr::new("a script")).to_string_lossy().into_owned(),
        said: escape::line(String::from_utf8_lossy(&output.stderr).trim()),
    })
}

/// The name in an answer such as `12` or `12;cluster`.
fn id(output: &Output) -> Option<SlurmId> {
    let text = String::from_utf8_lossy(&output.stdout);
    let id = text.trim().split(';').next()?;
    let is_id = output.status.success() && !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    is_id.then(|| SlurmId(id.to_owned()))
}

impl std::fmt::Display for SlurmId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign() -> Campaign {
        Campaign {
            program: "/opt/proof mark/proofmark".into(),
            plan: "/shared/plan.jsonl".into(),
            results: "/shared/results".into(),
            folder: "/shared".into(),
            tasks: 16,
            at_once: Some(4),
            needs_gpu: true,
            processors: 2,
            sbatch: vec!["--partition=gpu".to_owned()],
            run: vec!["--offline".to_owned()],
            reduce: Vec::new(),
        }
    }

    #[test]
    fn a_task_does_its_part_with_a_gpu_of_its_own_and_may_be_requeued() {
        let script = campaign().array_script().unwrap();
        for line in [
            "#SBATCH --array=0-15%4",
            "#SBATCH --gres=gpu:1",
            "#SBATCH --requeue",
            "#SBATCH --partition=gpu",
            "#SBATCH --output=\"/shared/results/slurm/%A_%a.log\"",
        ] {
            assert!(script.lines().any(|one| one == line), "{line} is not in {script}");
        }
        assert!(script.ends_with(
            "exec '/opt/proof mark/proofmark' fleet run '/shared/plan.jsonl' --results '/shared/results' \
             --shard \"$SLURM_ARRAY_TASK_ID/16\" --workers \"${SLURM_CPUS_PER_TASK:-1}\" '--offline'\n"
        ));
        let without = Campaign { needs_gpu: false, at_once: None, ..campaign() }.array_script().unwrap();
        assert!(!without.contains("gres") && without.contains("--array=0-15\n"), "{without}");
        assert!(campaign().reduce_script().unwrap().contains("fleet reduce '/shared/plan.jsonl'"));
    }

    #[test]
    fn nothing_in_a_script_becomes_a_command() {
        for text in ["/a'; rm -rf /; '", "/a\n#SBATCH --uid=0", "/a\"b", "/%u", "a\\"] {
            let places = [
                Campaign { plan: text.into(), ..campaign() },
                Campaign { folder: text.into(), ..campaign() },
                Campaign { run: vec![text.to_owned()], ..campaign() },
                Campaign { sbatch: vec![text.to_owned()], ..campaign() },
            ];
            for place in places {
                assert!(matches!(place.array_script(), Err(SlurmError::Unspeakable { .. })), "{text:?}");
            }
        }
    }

    #[test]
    fn an_answer_without_a_name_is_none() {
        let output = |text: &str| Output {
            status: std::process::ExitStatus::default(),
            stdout: text.as_bytes().to_vec(),
            stderr: Vec::new(),
        };
        assert_eq!(id(&output("12\n")), Some(SlurmId("12".to_owned())));
        assert_eq!(id(&output("12;cluster\n")), Some(SlurmId("12".to_owned())));
        for text in ["", "Submitted batch job 12", "-1", ";"] {
            assert_eq!(id(&output(text)), None, "{text}");
        }
    }
}
