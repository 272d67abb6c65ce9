//! Where the ledger is, and what its troubles mean for the caller.

use std::io;
use std::path::PathBuf;

use clap::Args;

use super::console::Console;
use super::failure::Failure;
use crate::ledger::{Ledger, LedgerError};

/// The variable that names a ledger.
const VARIABLE: &str = "PROOFMARK_LEDGER";

/// Where the ledger is.
#[derive(Debug, Clone, Args)]
pub struct LedgerFolder {
    /// The ledger's folder [default: ledger/ in the data folder].
    #[arg(long, value_name = "DIR", global = true, env = VARIABLE)]
    pub ledger: Option<PathBuf>,
}

impl LedgerFolder {
    /// The folder, which need not exist yet.
    pub fn folder(&self) -> Result<PathBuf, Failure> {
        let named = self.ledger.as_deref().filter(|_| self.is_named());
        Ledger::place(named, |name| std::env::var_os(name)).ok_or_else(|| {
            Failure::could_not_judge("there is no place for a ledger: HOME is not set")
                .hint("name a folder with --ledger or PROOFMARK_LEDGER")
        })
    }

    /// Opens it, and says what in it is not believed.
    pub fn open(&self, console: &Console) -> Result<Ledger, Failure> {
        let ledger = Ledger::open(&self.folder()?).map_err(explain)?;
        say_faults(&ledger, console);
        Ok(ledger)
    }

    /// Opens it to look things up: nothing is made where there is none. What an option names has to be there.
    pub fn look(&self, console: &Console) -> Result<Ledger, Failure> {
        let folder = self.folder()?;
        if Ledger::is_at(&folder) {
            return self.open(console);
        }
        // A variable is set once, before there is anything to keep; an option is typed for what is there.
        if std::env::var_os(VARIABLE).is_some_and(|named| named == folder.as_os_str()) {
            console.say(format!("note: {} holds no ledger yet", folder.display()));
        } else if self.is_named() {
            return Err(Failure::request(format!("{} holds no ledger", folder.display())).hint(
                "--ledger names one that is there; `ledger import`, `bench` and `challenge` begin one",
            ));
        }
        Ledger::of_nothing(&folder).map_err(explain)
    }

    /// The same where it was named.
    pub fn look_named(&self, console: &Console) -> Result<Option<Ledger>, Failure> {
        if self.is_named() { self.look(console).map(Some) } else { Ok(None) }
    }

    fn is_named(&self) -> bool {
        self.ledger.as_ref().is_some_and(|path| !path.as_os_str().is_empty())
    }

    /// Opens it where it was named.
    pub fn open_named(&self, console: &Console) -> Result<Option<Ledger>, Failure> {
        if self.is_named() { self.open(console).map(Some) } else { Ok(None) }
    }
}

/// Says what in a ledger is not believed.
pub(super) fn say_faults(ledger: &Ledger, console: &Console) {
    for fault in ledger.faults() {
        console.say(format!("note: not believed: {}: {}", fault.file, fault.reason));
    }
    if !ledger.faults().is_empty() {
        console
            .say("hint: `proofmark ledger import FILE` takes in what lines of it still read; then remove it");
    }
}

/// Says what a ledger's failure means for the caller.
pub(super) fn explain(error: LedgerError) -> Failure {
    match &error {
        LedgerError::Foreign { .. } => Failure::request(error)
            .hint("`ledger import` takes records, sealed artifacts, and traces of FlashInfer-Bench and SOL-ExecBench"),
        LedgerError::Ambiguous { found: 0, .. } => Failure::request(error)
            .hint("`ledger list` names runs, `ledger query` entries and artifacts"),
        LedgerError::Ambiguous { .. } => Failure::request(error).hint("name more of its digits"),
        LedgerError::ChampionMoved { .. } => Failure::could_not_judge(error).hint("challenge the new champion"),
        LedgerError::Stale { .. } | LedgerError::Index { .. } => {
            Failure::could_not_judge(error).hint("`proofmark ledger rebuild` reads every record again")
        }
        LedgerError::File { source, .. } if is_too_large(source) => {
            Failure::request(error).hint("its lines count as well in several files, or in a folder of them")
        }
        LedgerError::File { .. } => {
            Failure::could_not_judge(error).hint("name a folder that you can write with --ledger or PROOFMARK_LEDGER")
        }
        LedgerError::Unwritable(_) => Failure::could_not_judge(error),
    }
}

/// Whether a file is refused for its size.
pub(super) fn is_too_large(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::FileTooLarge
}
