//! The shared cache, as it is named on the command line.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::signing_key;
use crate::shared_cache::{CachePlace, PlaceError, Sharing};

/// How long a shared cache is waited for where nothing else is said: less than most builds take.
const PATIENCE_SECONDS: u64 = 10;

/// Longest patience that can be asked for, in seconds.
const LONGEST_PATIENCE_SECONDS: u64 = 600;

/// What `--remote-cache` says names no place.
#[derive(Debug, thiserror::Error)]
#[error("what --remote-cache or PROOFMARK_REMOTE_CACHE says names no shared cache")]
struct Misnamed {
    source: PlaceError,
}

/// Which shared cache is used. Its options are of no use without one.
#[derive(Debug, Clone, Default, Args)]
pub struct SharingOptions {
    /// Builds that others share: file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.
    /// It is only read, and only with --cache-signers. Credentials are the environment's.
    #[arg(long, value_name = "PLACE", env = "PROOFMARK_REMOTE_CACHE", hide_env_values = true)]
    pub remote_cache: Option<String>,
    /// Whose builds are taken from the shared cache, in the format of OpenSSH's allowed_signers.
    #[arg(long, value_name = "FILE", env = SIGNERS_VARIABLE)]
    pub cache_signers: Option<PathBuf>,
    /// Put what is built here into the shared cache, signed with this ed25519 key of OpenSSH.
    #[arg(long, value_name = "FILE", env = KEY_VARIABLE)]
    pub cache_key: Option<PathBuf>,
    /// How long the shared cache may take to answer, before the build goes on without it
    /// [default: 10].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=LONGEST_PATIENCE_SECONDS))]
    pub cache_patience: Option<u64>,
}

/// The variables that say what options say: set once, for whenever a shared cache is named.
const SIGNERS_VARIABLE: &str = "PROOFMARK_CACHE_SIGNERS";
const KEY_VARIABLE: &str = "PROOFMARK_CACHE_KEY";

impl SharingOptions {
    /// Refuses options that were typed for a shared cache where none is named.
    fn refuse_without_place(&self) -> Result<(), Failure> {
        let is_typed = |value: &Option<PathBuf>, variable: &str| {
            value
                .as_ref()
                .is_some_and(|value| std::env::var_os(variable).as_deref() != Some(value.as_os_str()))
        };
        let typed = [
            ("--cache-key", is_typed(&self.cache_key, KEY_VARIABLE)),
            ("--cache-signers", is_typed(&self.cache_signers, SIGNERS_VARIABLE)),
            ("--cache-patience", self.cache_patience.is_some()),
        ];
        match typed.into_iter().find(|(_, is_typed)| *is_typed) {
            None => Ok(()),
            Some((option, _)) => {
                Err(Failure::request(format!("{option} is about a shared cache, and none is named"))
                    .hint("--remote-cache PLACE or PROOFMARK_REMOTE_CACHE names one"))
            }
        }
    }

    /// Opens the files that they name. `None` where no shared cache is named.
    pub fn sharing(&self) -> Result<Option<Sharing>, Failure> {
        let Some(place) = &self.remote_cache else {
            self.refuse_without_place()?;
            return Ok(None);
        };
        // Parsed here, so that nobody repeats a text that may hold a secret.
        let place: CachePlace =
            place.parse().map_err(|error| Failure::request(Misnamed { source: error }))?;
        if self.cache_signers.is_none() && self.cache_key.is_none() {
            return Err(Failure::request(format!("nothing is known of who may sign in {place}"))
                .hint("--cache-signers FILE names whose builds are taken, --cache-key FILE signs yours"));
        }
        let allowed = self.cache_signers.as_deref().map(signing_key::open_signers).transpose()?;
        let key = self.cache_key.as_deref().map(signing_key::open_key).transpose()?;
        Ok(Some(Sharing {
            place,
            allowed,
            key: key.map(Arc::new),
            patience: Duration::from_secs(self.cache_patience.unwrap_or(PATIENCE_SECONDS)),
        }))
    }
}
