//! Objects in a bucket of Amazon S3, Google Cloud Storage or Azure Blob Storage, and of what speaks as they do.
//!
//! Endpoint, region and credentials are the environment's, by the names that each service's own tools use.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{ClientConfigKey, Error, GetOptions, ObjectStore, PutMode, PutOptions, RetryConfig};
use tokio::runtime::Runtime;

use super::object::{Creation, ObjectError};
use super::place::Service;
use super::secrets;

/// Once more after a moment, where a store is busy; then the build goes on.
const MOST_RETRIES: usize = 2;

/// A bucket, and what waits for it.
#[derive(Debug)]
pub(super) struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    runtime: Runtime,
    patience: Duration,
}

impl Bucket {
    /// Nothing is asked of the bucket yet.
    pub(super) fn new(
        service: Service,
        bucket: &str,
        prefix: &str,
        patience: Duration,
    ) -> Result<Self, ObjectError> {
        // A second installation fails, and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ObjectError::Failed { reason: error.to_string() })?;
        let store = store_of(service, bucket, patience).map_err(|error| failed(&error))?;
        Ok(Self { store, prefix: prefix.to_owned(), runtime, patience })
    }

    pub(super) fn list(&self, prefix: &str, most: usize) -> Result<Vec<String>, ObjectError> {
        let folder = self.path(prefix);
        let mut names = self.wait(async {
            let mut found = self.store.list(Some(&folder)).take(most);
            let mut names = Vec::new();
            while let Some(object) = found.next().await {
                let location = object?.location;
                let name = location.as_ref().strip_prefix(&self.prefix).unwrap_or_default();
                names.push(name.trim_start_matches('/').to_owned());
            }
            Ok(names)
        })?;
        names.sort();
        Ok(names)
    }

    pub(super) fn get(&self, name: &str, most_bytes: u64) -> Result<Option<Vec<u8>>, ObjectError> {
        let path = self.path(name);
        let too_large = || ObjectError::TooLarge { name: name.to_owned(), most_bytes };
        let read = self.wait(async {
            let found = match self.store.get_opts(&path, GetOptions::default()).await {
                Err(Error::NotFound { .. }) => return Ok(Read::Nothing),
                found => found?,
            };
            if found.meta.size > most_bytes {
                return Ok(Read::TooLarge);
            }
            // What a store announces need not be what it sends.
            let mut bytes = Vec::new();
            let mut pieces = found.into_stream();
            while let Some(piece) = pieces.next().await {
                bytes.extend_from_slice(&piece?);
                if bytes.len() as u64 > most_bytes {
                    return Ok(Read::TooLarge);
                }
            }
            Ok(Read::Whole(bytes))
        })?;
        match read {
            Read::Nothing => Ok(None),
            Read::TooLarge => Err(too_large()),
            Read::Whole(bytes) => Ok(Some(bytes)),
        }
    }

    pub(super) fn create(&self, name: &str, bytes: &[u8]) -> Result<Creation, ObjectError> {
        let path = self.path(name);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.wait(async {
            match self.store.put_opts(&path, bytes.to_vec().into(), options).await {
                Ok(_) => Ok(Creation::Made),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Creation::Existed),
                Err(error) => Err(error),
            }
        })
    }

    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}/{name}", self.prefix))
    }

    fn wait<T>(&self, question: impl Future<Output = Result<T, Error>>) -> Result<T, ObjectError> {
        let timed = async { tokio::time::timeout(self.patience, question).await };
        match self.runtime.block_on(timed) {
            Ok(answer) => answer.map_err(|error| failed(&error)),
            Err(_) => Err(ObjectError::Late { waited: self.patience }),
        }
    }
}

enum Read {
    Nothing,
    TooLarge,
    Whole(Vec<u8>),
}

fn store_of(service: Service, bucket: &str, patience: Duration) -> Result<Arc<dyn ObjectStore>, Error> {
    let retry = RetryConfig { max_retries: MOST_RETRIES, retry_timeout: patience, ..RetryConfig::default() };
    let limits = [
        (ClientConfigKey::Timeout, format!("{} seconds", patience.as_secs())),
        (ClientConfigKey::ConnectTimeout, format!("{} seconds", patience.as_secs())),
    ];
    Ok(match service {
        Service::S3 => {
            let with = |builder: AmazonS3Builder, (key, value): (ClientConfigKey, String)| {
                builder.with_config(AmazonS3ConfigKey::Client(key), value)
            };
            let builder = limits.into_iter().fold(AmazonS3Builder::from_env(), with);
            Arc::new(builder.with_bucket_name(bucket).with_retry(retry).build()?)
        }
        Service::Gcs => {
            let with = |builder: GoogleCloudStorageBuilder, (key, value): (ClientConfigKey, String)| {
                builder.with_config(GoogleConfigKey::Client(key), value)
            };
            let builder = limits.into_iter().fold(GoogleCloudStorageBuilder::from_env(), with);
            Arc::new(builder.with_bucket_name(bucket).with_retry(retry).build()?)
        }
        Service::Azure => {
            let with = |builder: MicrosoftAzureBuilder, (key, value): (ClientConfigKey, String)| {
                builder.with_config(AzureConfigKey::Client(key), value)
            };
            let builder = limits.into_iter().fold(MicrosoftAzureBuilder::from_env(), with);
            Arc::new(builder.with_container_name(bucket).with_retry(retry).build()?)
        }
    })
}

/// What a store said, without what may be a secret. An error's causes say more than itself.
fn failed(error: &Error) -> ObjectError {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    ObjectError::Failed { reason: secrets::removed(&text, &secrets::of_environment()) }
}
