//! What is archived of a build: what went in, and what came out.
//!
//! ```text
//! build.log            the compiler's words
//! library.so           what came out
//! request.json         what the sources shall become; `cache challenge` builds it again
//! sources/<path>       every file that went in
//! ```
//!
//! A zip in the form of artifacts: the same build gives the same bytes. It holds no time, no name of a
//! person and no path of a machine.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proofmark_packager::bundle::{self, BundleError, LARGEST_ARCHIVE_BYTES};
use proofmark_packager::json::{self, Budget};
use proofmark_packager::{Arch, SourceFile, SourcePath};
use serde::{Deserialize, Serialize};

use crate::build::{BuildRequest, Interface, LinkRule};

/// Largest archive that is read or made, in bytes.
pub(super) const LARGEST_BYTES: u64 = LARGEST_ARCHIVE_BYTES;

pub(super) const LIBRARY_NAME: &str = "library.so";
pub(super) const LOG_NAME: &str = "build.log";
const REQUEST_NAME: &str = "request.json";
const SOURCES_PREFIX: &str = "sources/";

const FORMAT: &str = "proofmark.build-request";
const VERSION: u32 = 1;

/// A build as it is archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedBuild {
    /// What was asked for.
    pub request: BuildRequest,
    /// What it was built for.
    pub arch: Arch,
    /// What was linked without being asked for.
    pub link_rule: LinkRule,
    /// What came out.
    pub library: Vec<u8>,
    /// The compiler's words.
    pub log: String,
}

/// What `request.json` says; the sources stand beside it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: String,
    version: u32,
    arch: Arch,
    entry_file: Option<SourcePath>,
    units: Option<Vec<SourcePath>>,
    interface: Interface,
    nvcc_flags: Vec<String>,
    host_flags: Option<Vec<String>>,
    dependencies: Vec<String>,
    link_rule: LinkRule,
}

/// Why an archive is none.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// No zip within the bounds.
    #[error(transparent)]
    Zip(#[from] BundleError),
    /// A part is missing, unknown or unreadable.
    #[error("`{name}` in it {reason}")]
    Part {
        /// The part.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is larger than what is read.
    #[error("it would be {found_bytes} bytes: at most {LARGEST_BYTES} are shared")]
    TooLarge {
        /// How large it would be.
        found_bytes: u64,
    },
}

/// Writes the archive of a build.
pub fn write(
    request: &BuildRequest,
    arch: Arch,
    link_rule: LinkRule,
    library: &[u8],
    log: &str,
) -> Result<Vec<u8>, ArchiveError> {
    let description = Description {
        format: FORMAT.to_owned(),
        version: VERSION,
        arch,
        entry_file: request.entry_file.clone(),
        units: request.units.clone(),
        interface: request.interface.clone(),
        nvcc_flags: request.nvcc_flags.clone(),
        host_flags: request.host_flags.clone(),
        dependencies: request.dependencies.clone(),
        link_rule,
    };
    let description = serde_json::to_vec_pretty(&description).expect("texts always serialise");
    let mut entries = BTreeMap::from([
        (LIBRARY_NAME.to_owned(), Cow::Borrowed(library)),
        (LOG_NAME.to_owned(), Cow::Borrowed(log.as_bytes())),
        (REQUEST_NAME.to_owned(), Cow::Owned(description)),
    ]);
    for source in &request.sources {
        entries.insert(format!("{SOURCES_PREFIX}{}", source.path), Cow::Borrowed(source.content.as_bytes()));
    }
    let bytes = bundle::zip_of(&entries);
    // What could not be read again is not made.
    match bundle::unzip(&bytes) {
        Ok(_) => Ok(bytes),
        Err(_) if bytes.len() as u64 > LARGEST_BYTES / 3 => {
            Err(ArchiveError::TooLarge { found_bytes: bytes.len() as u64 })
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads an archive.
pub fn read(bytes: &[u8]) -> Result<ArchivedBuild, ArchiveError> {
    let part = |name: &str, reason: String| ArchiveError::Part { name: name.to_owned(), reason };
    let mut entries = bundle::unzip(bytes)?;
    let mut take = |name: &str| {
        entries.remove(name).map(Cow::into_owned).ok_or_else(|| part(name, "is missing".to_owned()))
    };
    let text = |name: &str, bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| part(name, "is no UTF-8".to_owned()))
    };
    let library = take(LIBRARY_NAME)?;
    let log = text(LOG_NAME, take(LOG_NAME)?)?;
    let description = text(REQUEST_NAME, take(REQUEST_NAME)?)?;
    let description: Description = json::parse(&description, Budget::DOCUMENT)
        .map_err(|error| part(REQUEST_NAME, format!("is unreadable: {error}")))?;
    if description.format != FORMAT || description.version != VERSION {
        let found = format!("{} version {}", description.format, description.version);
        return Err(part(REQUEST_NAME, format!("is {found}: expected {FORMAT} version {VERSION}")));
    }
    let mut sources = Vec::new();
    for (name, content) in entries {
        let path = name.strip_prefix(SOURCES_PREFIX).and_then(|path| path.parse().ok());
        let path = path.ok_or_else(|| part(&name, "is no part of an archive".to_owned()))?;
        sources.push(SourceFile { path, content: text(&name, content.into_owned())? });
    }
    let Description {
        arch,
        entry_file,
        units,
        interface,
        nvcc_flags,
        host_flags,
        dependencies,
        link_rule,
        ..
    } = description;
    let request =
        BuildRequest { sources, entry_file, units, interface, nvcc_flags, host_flags, dependencies };
    Ok(ArchivedBuild { request, arch, link_rule, library, log })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> BuildRequest {
        let source = |path: &str| SourceFile { path: path.parse().unwrap(), content: format!("// {path}\n") };
        BuildRequest {
            sources: vec![source("include/a.cuh"), source("kernel.cu")],
            entry_file: Some("kernel.cu".parse().unwrap()),
            units: None,
            interface: Interface::TvmFfi { symbol: Some("run".to_owned()) },
            nvcc_flags: vec!["-O3".to_owned()],
            host_flags: None,
            dependencies: Vec::new(),
        }
    }

    #[test]
    fn a_build_comes_out_as_it_went_in_and_always_as_the_same_bytes() {
        let bytes = write(&request(), Arch::SM_100A, LinkRule::BenchReleased, b"\x7fELF", "said").unwrap();
        assert_eq!(
            bytes,
            write(&request(), Arch::SM_100A, LinkRule::BenchReleased, b"\x7fELF", "said").unwrap()
        );
        let read = read(&bytes).unwrap();
        assert_eq!((read.request, read.link_rule), (request(), LinkRule::BenchReleased));
        assert_eq!(read.arch, Arch::SM_100A);
        assert_eq!((read.library.as_slice(), read.log.as_str()), (b"\x7fELF".as_slice(), "said"));
    }

    #[test]
    fn every_cut_and_every_strange_part_is_refused() {
        let bytes = write(&request(), Arch::SM_100A, LinkRule::BenchMain, b"\x7fELF", "said").unwrap();
        for at in 0..bytes.len() {
            assert!(read(&bytes[..at]).is_err(), "cut at {at}");
        }
        for (name, reason) in [("evil.so", "no part"), ("sources/../x", "")] {
            let mut entries = bundle::unzip(&bytes).unwrap();
            entries.insert(name.to_owned(), Cow::Borrowed(b"x"));
            let error = read(&bundle::zip_of(&entries)).unwrap_err().to_string();
            assert!(error.contains(reason), "{name}: {error}");
        }
        for name in [LIBRARY_NAME, LOG_NAME, REQUEST_NAME] {
            let mut entries = bundle::unzip(&bytes).unwrap();
            entries.remove(name);
            assert!(read(&bundle::zip_of(&entries)).unwrap_err().to_string().contains("is missing"));
        }
    }
}
