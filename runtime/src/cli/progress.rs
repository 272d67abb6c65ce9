//! What takes time, shown: a bar on a terminal, lines elsewhere.

use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use proofmark_packager::interop::flashinfer::Workload;

use super::console::Console;
use crate::pipeline::Event;
use crate::toolchain::{Progress, Step};

/// What takes time, shown.
pub(super) struct ProgressDisplay {
    console: Console,
    bar: ProgressBar,
    installing: Option<InstallDisplay>,
}

impl ProgressDisplay {
    pub(super) fn new(console: Console) -> Self {
        Self { console, bar: ProgressBar::hidden(), installing: None }
    }

    pub(super) fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::Installing(step) => {
                let console = self.console;
                self.installing.get_or_insert_with(|| InstallDisplay::new(console)).step(step);
            }
            Event::Capturing { .. } => self.say("importing the entry in a sandbox, to see what it compiles"),
            Event::Waiting => self.say("waiting: another process builds this"),
            Event::Building { arch, reason, .. } => self.say(&format!("building for {arch}: {reason}")),
            Event::Sharing(notice) => self.say(&format!("note: {notice}")),
            Event::Measuring { facts, workloads } => {
                for warning in facts.warnings() {
                    self.say(&format!("note: {warning}"));
                }
                self.open("{bar:30} {pos}/{len} {msg} {elapsed}", workloads as u64);
            }
            Event::Recorded { done } => self.bar.set_message(format!("recorded {done}")),
            Event::Begun(workload) => self.bar.set_message(axes(workload)),
            Event::Ended(_) => self.bar.inc(1),
            Event::Cells { done, of } => {
                if self.bar.is_hidden() {
                    self.open("{bar:30} {pos}/{len} cells to the next look {elapsed}", 1);
                }
                self.bar.set_length(of as u64);
                self.bar.set_position(done as u64);
            }
        }
    }

    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }

    fn say(&mut self, text: &str) {
        self.installing = None;
        self.bar.suspend(|| self.console.say(text));
    }

    fn open(&mut self, template: &str, length: u64) {
        if self.console.is_lively() {
            let style = ProgressStyle::with_template(template).expect("a valid template");
            self.bar = ProgressBar::new(length).with_style(style);
        }
    }
}

fn axes(workload: &Workload) -> String {
    let texts: Vec<String> = workload.axes().iter().map(|(name, value)| format!("{name}={value}")).collect();
    texts.join(" ")
}

/// Shows an installation: a spinner on a terminal, a line for each step elsewhere.
pub(super) struct InstallDisplay {
    console: Console,
    spinner: Option<ProgressBar>,
}

impl InstallDisplay {
    pub(super) fn new(console: Console) -> Self {
        let spinner = console.is_lively().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
            let bar = ProgressBar::new_spinner().with_style(style.expect("the template is fixed"));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { console, spinner }
    }

    pub(super) fn finish(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }

    fn say(&self, text: &str) {
        match &self.spinner {
            Some(spinner) => spinner.println(text),
            None => self.console.say(text),
        }
    }

    fn show(&self, text: String) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(text);
        }
    }
}

impl Drop for InstallDisplay {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Progress for InstallDisplay {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Waiting => self.say("another proofmark is installing; waiting for it"),
            Step::Present { component } => self.say(&format!("{component} is installed")),
            Step::Fetching { component, bytes } => {
                self.say(&format!("fetching {component}, {}", HumanBytes(*bytes)));
            }
            Step::Said { line } => self.show(line.chars().take(100).collect()),
            Step::Checked { wheel } => self.show(format!("unpacking {wheel}")),
            Step::Installed { component, folder } => {
                self.say(&format!("installed {component} in {}", folder.display()));
            }
        }
    }
}
