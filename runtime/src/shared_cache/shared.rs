//! A shared cache: builds are looked up in it, and shared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use proofmark_packager::{Digest, escape};

use super::archive::{self, ArchivedBuild};
use super::object::{Creation, ObjectError};
use super::patience::PatientObjects;
use super::place::CachePlace;
use super::statement::{self, EntryStatement, StatementFault};
use crate::build::{BuildRequest, LinkRule};
use crate::cache::{CacheEntry, FetchedFrom, PlanKey};
use crate::signing::{AllowedSigners, Signer, SigningKey};

/// The folder of this layout's version.
const LAYOUT: &str = "v1";

/// Most statements of one plan that are read. Each is another set of headers, or another signer.
const MOST_STATEMENTS: usize = 64;

/// Most statements of a whole place that are listed, to choose some of them.
const MOST_LISTED: usize = 100_000;

/// Which shared cache is used, and how.
#[derive(Debug, Clone)]
pub struct Sharing {
    /// Where it is.
    pub place: CachePlace,
    /// Whose builds are taken from it; `None` takes nobody's.
    pub allowed: Option<AllowedSigners>,
    /// What signs the builds that are put into it; `None` puts none.
    pub key: Option<Arc<SigningKey>>,
    /// How long one look-up, or the sharing of one build, may wait.
    pub patience: Duration,
}

/// What should be known of a shared cache, and stops nothing.
#[derive(Debug)]
pub enum SharingNotice {
    /// It is not asked any more.
    Away {
        /// Where it is.
        place: CachePlace,
        /// Why.
        error: ObjectError,
    },
    /// Something in it is not believed.
    Refused {
        /// Where it is.
        place: CachePlace,
        /// Which object.
        name: String,
        /// Why.
        reason: String,
        /// How many more objects are not believed.
        others: usize,
    },
    /// Those who may sign say different things: none is believed.
    Disagreement {
        /// Where it is.
        place: CachePlace,
        /// Who says which library came out.
        says: Vec<(String, Digest)>,
    },
    /// A build was put into it.
    Shared {
        /// Where it is.
        place: CachePlace,
    },
    /// A build was not put into it.
    NotShared {
        /// Where it is.
        place: CachePlace,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for SharingNotice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Away { place, error } => format!("the shared cache {place} is not used: {error}"),
            Self::Refused { place, name, reason, others } => {
                let more = if *others == 0 { String::new() } else { format!(", and {others} more") };
                format!("not taken from the shared cache {place}: `{name}`: {reason}{more}")
            }
            Self::Disagreement { place, says } => {
                let says: Vec<_> =
                    says.iter().map(|(who, library)| format!("{who} says {}", library.short())).collect();
                let says = says.join(", ");
                format!("not taken from the shared cache {place}: its signers disagree: {says}")
            }
            Self::Shared { place } => format!("put into the shared cache {place}"),
            Self::NotShared { place, reason } => {
                format!("not put into the shared cache {place}: {reason}")
            }
        };
        // Names and reasons are others' words.
        formatter.write_str(&escape::line(&text))
    }
}

/// A build that others signed: re-hashed, and not proven yet.
#[derive(Debug)]
pub struct Found {
    /// What is stated of it.
    pub statement: EntryStatement,
    /// Who states it.
    pub fetched_from: FetchedFrom,
    /// Where its archive is.
    pub name: String,
    /// What the archive holds.
    pub build: ArchivedBuild,
}

/// A shared cache, as one job uses it.
#[derive(Debug)]
pub struct SharedCache {
    sharing: Sharing,
    /// `None` once it failed or was late.
    objects: Option<PatientObjects>,
}

/// A statement of somebody who is allowed.
type Stated = (EntryStatement, Vec<Signer>);

impl SharedCache {
    /// Opens a shared cache; nothing is asked of it yet.
    pub fn open(sharing: &Sharing) -> Result<Self, ObjectError> {
        let objects = PatientObjects::of(&sharing.place, sharing.patience)?;
        Ok(Self { sharing: sharing.clone(), objects: Some(objects) })
    }

    /// Looks a plan up. `current` gives a header's digest of today by its label, `None` if it is gone.
    pub fn look_up(
        &mut self,
        plan: PlanKey,
        current: impl FnMut(&str) -> Option<Digest>,
        tell: &mut dyn FnMut(SharingNotice),
    ) -> Option<Found> {
        let allowed = self.sharing.allowed.as_ref()?;
        let objects = self.objects.as_mut()?;
        objects.begin();
        let mut look = LookUp { objects, place: &self.sharing.place, allowed, plan, refused: Vec::new() };
        let found = look.found(current, tell);
        if let Some((name, reason)) = look.refused.first().cloned() {
            let others = look.refused.len() - 1;
            tell(SharingNotice::Refused { place: self.sharing.place.clone(), name, reason, others });
        }
        found.unwrap_or_else(|error| {
            self.leave(error, tell);
            None
        })
    }

    /// Puts a build into it that was made here, if that was asked for and it is not there yet.
    pub fn share(
        &mut self,
        entry: &CacheEntry,
        request: &BuildRequest,
        link_rule: LinkRule,
        tell: &mut dyn FnMut(SharingNotice),
    ) {
        // What somebody else built is theirs to sign.
        let Some(key) = self.sharing.key.clone().filter(|_| entry.fetched_from.is_none()) else { return };
        let Some(objects) = self.objects.as_mut() else { return };
        objects.begin();
        let place = self.sharing.place.clone();
        match put(objects, &key, entry, request, link_rule) {
            Ok(Creation::Made) => tell(SharingNotice::Shared { place }),
            Ok(Creation::Existed) => {}
            Err(SharingError::Object(error)) => self.leave(error, tell),
            Err(error) => tell(SharingNotice::NotShared { place, reason: error.to_string() }),
        }
    }

    /// The names of everything that is stated in it, whoever says it.
    pub fn statements(&mut self) -> Result<Vec<String>, ObjectError> {
        let objects = self.objects.as_mut().ok_or(ObjectError::Gone)?;
        objects.begin();
        let names = objects.list(&format!("{LAYOUT}/statements"), MOST_LISTED)?;
        Ok(names.into_iter().filter(|name| key_of(name).is_some()).collect())
    }

    /// One build by its statement's name, re-hashed; or why it is not believed.
    pub fn stated_as(&mut self, name: &str) -> Result<Result<Found, String>, ObjectError> {
        let (Some(allowed), Some(objects)) = (&self.sharing.allowed, self.objects.as_mut()) else {
            return Err(ObjectError::Gone);
        };
        objects.begin();
        let bytes = match objects.get(name, statement::LARGEST_BYTES) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(error) if error.is_of_one_object() => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        };
        let (stated, signers) = match EntryStatement::read(&bytes, allowed) {
            Ok(stated) => stated,
            Err(fault) => return Ok(Err(fault.to_string())),
        };
        if !name.starts_with(&format!("{}/{}-", statements_folder(stated.plan), stated.key)) {
            return Ok(Err(format!("it is about another build: its key is {}", stated.key)));
        }
        let place = &self.sharing.place;
        let look = LookUp { objects, place, allowed, plan: stated.plan, refused: Vec::new() };
        let archive = archive_name(&stated.archive);
        let build = look.archived(&archive, &stated)?;
        let fetched_from = fetched_from(place, &signers);
        Ok(build.map(|build| Found { statement: stated, fetched_from, name: archive, build }))
    }

    /// Where it is.
    pub fn place(&self) -> &CachePlace {
        &self.sharing.place
    }

    fn leave(&mut self, error: ObjectError, tell: &mut dyn FnMut(SharingNotice)) {
        self.objects = None;
        tell(SharingNotice::Away { place: self.sharing.place.clone(), error });
    }
}

/// A look-up under way.
struct LookUp<'a> {
    objects: &'a PatientObjects,
    place: &'a CachePlace,
    allowed: &'a AllowedSigners,
    plan: PlanKey,
    refused: Vec<(String, String)>,
}

impl LookUp<'_> {
    fn found(
        &mut self,
        mut current: impl FnMut(&str) -> Option<Digest>,
        tell: &mut dyn FnMut(SharingNotice),
    ) -> Result<Option<Found>, ObjectError> {
        let mut known: BTreeMap<String, Option<Digest>> = BTreeMap::new();
        let mut is_current = |(label, digest): (&String, &Digest)| {
            *known.entry(label.clone()).or_insert_with(|| current(label)) == Some(*digest)
        };
        let mut stated = self.stated()?;
        stated.retain(|(statement, _)| statement.dependencies.iter().all(&mut is_current));
        let libraries: BTreeSet<Digest> = stated.iter().map(|(statement, _)| statement.library).collect();
        if libraries.len() > 1 {
            let says = |(statement, signers): &Stated| (names_of(signers), statement.library);
            let says = stated.iter().map(says).collect();
            tell(SharingNotice::Disagreement { place: self.place.clone(), says });
            return Ok(None);
        }
        for (statement, signers) in &stated {
            let name = archive_name(&statement.archive);
            match self.archived(&name, statement)? {
                Ok(build) => {
                    let fetched_from = fetched_from(self.place, signers);
                    return Ok(Some(Found { statement: statement.clone(), fetched_from, name, build }));
                }
                Err(reason) => self.refused.push((name, reason)),
            }
        }
        Ok(None)
    }

    /// What is stated of the plan by those who are allowed.
    fn stated(&mut self) -> Result<Vec<Stated>, ObjectError> {
        let folder = statements_folder(self.plan);
        let mut stated = Vec::new();
        for name in self.objects.list(&folder, MOST_STATEMENTS)? {
            let Some(key) = key_of(&name) else { continue };
            let bytes = match self.objects.get(&name, statement::LARGEST_BYTES) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(error) if error.is_of_one_object() => {
                    self.refused.push((name, error.to_string()));
                    continue;
                }
                Err(error) => return Err(error),
            };
            match self.read(&bytes, key) {
                Ok(one) => stated.push(one),
                Err(fault) => self.refused.push((name.clone(), fault.to_string())),
            }
        }
        Ok(stated)
    }

    fn read(&self, bytes: &[u8], key: &str) -> Result<Stated, StatementFault> {
        let (statement, signers) = EntryStatement::read(bytes, self.allowed)?;
        statement.require_plan(self.plan)?;
        if statement.key.to_string() != key {
            let (found, expected) = (statement.key.to_string(), key.to_owned());
            return Err(StatementFault::Other { what: "key", found, expected });
        }
        Ok((statement, signers))
    }

    /// An archive that is what a statement says, or why it is not.
    fn archived(
        &self,
        name: &str,
        statement: &EntryStatement,
    ) -> Result<Result<ArchivedBuild, String>, ObjectError> {
        let bytes = match self.objects.get(name, statement.archive_bytes) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Err("it is signed, and not there".to_owned())),
            Err(error) if error.is_of_one_object() => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        };
        Ok(check(&bytes, statement))
    }
}

/// Holds an archive against its statement, part by part.
fn check(bytes: &[u8], statement: &EntryStatement) -> Result<ArchivedBuild, String> {
    let require = |what: &str, found: Digest, expected: Digest| {
        let differs = || format!("{what} has the digest {found}, signed is {expected}");
        (found == expected).then_some(()).ok_or_else(differs)
    };
    require("it", Digest::of_bytes(bytes), statement.archive)?;
    let build = archive::read(bytes).map_err(|error| error.to_string())?;
    require("its library", Digest::of_bytes(&build.library), statement.library)?;
    require("its log", Digest::of_bytes(build.log.as_bytes()), statement.log)?;
    Ok(build)
}

/// Why a build was not shared.
#[derive(Debug, thiserror::Error)]
pub enum SharingError {
    /// The place.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// It does not fit.
    #[error(transparent)]
    Archive(#[from] archive::ArchiveError),
    /// It was not signed.
    #[error(transparent)]
    Key(#[from] crate::signing::KeyError),
    /// The same key said earlier that another library came out.
    #[error("it is stated there with the library {}, and here it is {}: nothing is overwritten", stated.short(), here.short())]
    OtherLibrary {
        /// As stated.
        stated: Digest,
        /// As it came out here.
        here: Digest,
    },
    /// An object of that name is there, and is another.
    #[error("`{name}` is there and is not what its name says; nothing is overwritten")]
    Damaged {
        /// Its name.
        name: String,
    },
}

/// Archive first: a statement that stands has its archive.
fn put(
    objects: &PatientObjects,
    key: &SigningKey,
    entry: &CacheEntry,
    request: &BuildRequest,
    link_rule: LinkRule,
) -> Result<Creation, SharingError> {
    let plan = entry.ingredients.plan_key();
    let name = format!("{}/{}-{}.json", statements_folder(plan), entry.key, signer_part(key));
    match objects.get(&name, statement::LARGEST_BYTES) {
        Ok(None) => {}
        Ok(Some(there)) => return is_said(&there, key, entry, name),
        Err(error) if error.is_of_one_object() => return Err(SharingError::Damaged { name }),
        Err(error) => return Err(error.into()),
    }
    let bytes = archive::write(request, entry.proof.arch(), link_rule, &entry.library_bytes, &entry.log)?;
    let stated = EntryStatement {
        key: entry.key,
        plan,
        dependencies: entry.dependencies.clone(),
        first_built_as: entry.first_built_as.clone(),
        archive: Digest::of_bytes(&bytes),
        archive_bytes: bytes.len() as u64,
        library: entry.proof.library_digest(),
        log: Digest::of_bytes(entry.log.as_bytes()),
    };
    let mut envelope = stated.envelope();
    envelope.sign(key)?;
    let archive = archive_name(&stated.archive);
    if objects.create(&archive, bytes)? == Creation::Existed {
        let there = objects.get(&archive, stated.archive_bytes);
        if !matches!(&there, Ok(Some(there)) if Digest::of_bytes(there) == stated.archive) {
            return Err(SharingError::Damaged { name: archive });
        }
    }
    Ok(objects.create(&name, (envelope.to_line() + "\n").into_bytes())?)
}

/// Whether what stands in the place of our statement is one: by this key, about this build, naming its library.
fn is_said(
    there: &[u8],
    key: &SigningKey,
    entry: &CacheEntry,
    name: String,
) -> Result<Creation, SharingError> {
    let library = entry.proof.library_digest();
    match EntryStatement::read(there, &AllowedSigners::only(key)) {
        Ok((stated, _)) if stated.key == entry.key && stated.library == library => Ok(Creation::Existed),
        Ok((stated, _)) if stated.key == entry.key => {
            Err(SharingError::OtherLibrary { stated: stated.library, here: library })
        }
        _ => Err(SharingError::Damaged { name }),
    }
}

fn statements_folder(plan: PlanKey) -> String {
    let plan = plan.to_string();
    format!("{LAYOUT}/statements/{}/{plan}", &plan[..2])
}

fn archive_name(digest: &Digest) -> String {
    let digest = digest.to_string();
    format!("{LAYOUT}/archives/{}/{digest}.zip", &digest[..2])
}

/// Tells signers apart in names of files; who they are stands in the signature.
fn signer_part(key: &SigningKey) -> String {
    Digest::of_bytes(key.fingerprint().as_bytes()).to_string()[..16].to_owned()
}

/// The key in the name of a statement; `None` of anything else.
fn key_of(name: &str) -> Option<&str> {
    let is_hex = |text: &str| text.bytes().all(|one| matches!(one, b'0'..=b'9' | b'a'..=b'f'));
    let file = name.rsplit('/').next()?;
    let (key, signer) = file.strip_suffix(".json")?.split_once('-')?;
    (key.len() == 64 && signer.len() == 16 && is_hex(key) && is_hex(signer)).then_some(key)
}

fn fetched_from(place: &CachePlace, signers: &[Signer]) -> FetchedFrom {
    FetchedFrom { place: place.to_string(), signed_by: signers.iter().map(name_of).collect() }
}

fn name_of(signer: &Signer) -> String {
    format!("{} ({})", signer.principals.join(","), signer.key)
}

fn names_of(signers: &[Signer]) -> String {
    signers.iter().map(name_of).collect::<Vec<_>>().join(" and ")
}
