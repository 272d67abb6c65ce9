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
    #[arg(long, value_name = "FILE", env = "PROOFMARK_CACHE_SIGNERS")]
    pub cache_signers: Option<PathBuf>,
    /// Put what is built here into the shared cache, signed with this ed25519 key of OpenSSH.
    #[arg(long, value_name = "FILE", env = "PROOFMARK_CACHE_KEY")]
    pub cache_key: Option<PathBuf>,
    /// How long the shared cache may take to answer, before the build goes on without it
    /// [default: 10].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=LONGEST_PATIENCE_SECONDS))]
    pub cache_patience: Option<u64>,
}

impl SharingOptions {
    /// Opens the files that they name. `None` where no shared cache is named.
    pub fn sharing(&self) -> Result<Option<Sharing>, Failure> {
        let Some(place) = &self.remote_cache else { return Ok(None) };
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
