//! Remembers the digests of files, so that nothing large is read twice.
//!
//! A compiler is 200 MB and a build reads a thousand headers; hashing them takes a second, and a
//! warm answer must take milliseconds. So a digest is remembered beside what the file system says
//! about the file: device, inode, size, modification time and *change* time.
//!
//! The trust that this rests on: the kernel sets the change time whenever content or metadata
//! change, and no program can set it back without setting the clock. A change that keeps all five
//! values is possible for who may set the clock, write to the block device, or serve the network
//! file system. Who has such files passes [`DigestTrust::Nothing`]: then every file is read every time.
//!
//! A file that changed within the last two seconds is not remembered: a second change could fall
//! in the same tick of the file system's clock.
//!
//! ```text
//! <cache>/file-digests
//!   line 1     proofmark file digests 1 <sha256 of the rest>
//!   then       f <device> <inode> <size> <mtime ns> <ctime ns> <sha256>
//!              n <key> <note as a JSON string>
//! ```
//!
//! The file is replaced whole, by a rename. Of two processes that replace it at once one wins, and
//! the other's news are learned again. Content that does not match its first line is ignored.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proofmark_packager::Digest;

use crate::regular_file;

/// The name of the memo inside the cache folder.
pub const FILE_NAME: &str = "file-digests";
/// How the name of a file starts that is about to replace it.
pub(crate) const TEMPORARY_PREFIX: &str = ".file-digests-";
const HEADER: &str = "proofmark file digests 1";

/// Younger changes are not remembered: the coarsest clock that a file system stamps with is FAT's.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// At most this many lines are kept; about 120 bytes each, and twenty builds' worth of headers.
const MOST_ENTRIES: usize = 20_000;

/// Far more than that many lines take.
const MOST_BYTES: u64 = 64 << 20;

/// What may be believed without reading the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestTrust {
    /// A file whose five values are as remembered has the remembered digest.
    ChangeTime,
    /// Every file is read and hashed.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn has_settled(&self, now: SystemTime) -> bool {
        let horizon = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(SETTLED_AFTER);
        let horizon = i128::try_from(horizon.as_nanos()).unwrap_or(i128::MAX);
        self.changed_ns < horizon && self.modified_ns < horizon
    }
}

/// The memo.
#[derive(Debug)]
pub struct FileDigests {
    place: Option<PathBuf>,
    trust: DigestTrust,
    files: BTreeMap<Identity, Digest>,
    notes: BTreeMap<Digest, String>,
    news: bool,
}

impl FileDigests {
    /// Opens the memo of a cache folder. A missing or damaged one is empty.
    pub fn open(cache_folder: &Path, trust: DigestTrust) -> Self {
        let place = cache_folder.join(FILE_NAME);
        let mut memo = Self { place: Some(place.clone()), ..Self::forgetful() };
        memo.trust = trust;
        if trust == DigestTrust::ChangeTime {
            memo.absorb(&place);
        }
        memo
    }

    /// A memo without a file: it lasts as long as the value.
    pub fn forgetful() -> Self {
        Self {
            place: None,
            trust: DigestTrust::ChangeTime,
            files: BTreeMap::new(),
            notes: BTreeMap::new(),
            news: false,
        }
    }

    /// The SHA-256 of a file's content, read only if it is not remembered.
    pub fn digest(&mut self, path: &Path) -> io::Result<Digest> {
        if self.trust == DigestTrust::ChangeTime
            && let Some(digest) = self.files.get(&Identity::of(&fs::metadata(path)?))
        {
            return Ok(*digest);
        }
        let file = File::open(path)?;
        let before = Identity::of(&file.metadata()?);
        let began = SystemTime::now();
        let digest = Digest::of_reader(&file)?;
        let after = Identity::of(&file.metadata()?);
        if before == after && before.has_settled(began) {
            self.files.insert(before, digest);
            self.news = true;
        }
        Ok(digest)
    }

    /// Something learned earlier about content with this key, such as a compiler's version.
    pub fn note(&self, key: &Digest) -> Option<&str> {
        (self.trust == DigestTrust::ChangeTime).then(|| self.notes.get(key).map(String::as_str)).flatten()
    }

    /// Remembers something about content. The key must cover everything that the text depends on.
    pub fn take_note(&mut self, key: Digest, text: String) {
        self.notes.insert(key, text);
        self.news = true;
    }

    /// Writes the memo, with what others have written in the meantime, if anything is new.
    pub fn save(&mut self) -> io::Result<()> {
        let Some(place) = self.place.clone().filter(|_| self.news) else { return Ok(()) };
        self.absorb(&place);
        if self.files.len() + self.notes.len() > MOST_ENTRIES {
            // Rare and cheap to learn again; no need to know which of them are still of use.
            self.files.clear();
            self.notes.clear();
        }
        let folder = place.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(folder)?;
        file.write_all(self.render().as_bytes())?;
        file.persist(&place).map_err(|error| error.error)?;
        self.news = false;
        Ok(())
    }

    fn render(&self) -> String {
        let mut body = String::new();
        for (identity, digest) in &self.files {
            let Identity { device, inode, size, modified_ns, changed_ns } = identity;
            let _ = writeln!(body, "f {device} {inode} {size} {modified_ns} {changed_ns} {digest}");
        }
        for (key, note) in &self.notes {
            let _ = writeln!(body, "n {key} {}", serde_json::Value::from(note.as_str()));
        }
        format!("{HEADER} {}\n{body}", Digest::of_bytes(body.as_bytes()))
    }

    /// Adds what the file says; what is already known stays.
    fn absorb(&mut self, place: &Path) {
        let Ok(bytes) = regular_file::read(place, MOST_BYTES) else { return };
        let Ok(text) = String::from_utf8(bytes) else { return };
        let Some((first, body)) = text.split_once('\n') else { return };
        if first != format!("{HEADER} {}", Digest::of_bytes(body.as_bytes())) {
            return;
        }
        for line in body.lines() {
            match line.split_once(' ') {
                Some(("f", rest)) => {
                    if let Some((identity, digest)) = read_file_line(rest) {
                        self.files.entry(identity).or_insert(digest);
                    }
                }
                Some(("n", rest)) => {
                    if let Some((key, note)) = read_note_line(rest) {
                        self.notes.entry(key).or_insert(note);
                    }
                }
                _ => {}
            }
        }
    }
}

fn read_file_line(line: &str) -> Option<(Identity, Digest)> {
    let mut fields = line.split(' ');
    let identity = Identity {
        device: fields.next()?.parse().ok()?,
        inode: fields.next()?.parse().ok()?,
        size: fields.next()?.parse().ok()?,
        modified_ns: fields.next()?.parse().ok()?,
        changed_ns: fields.next()?.parse().ok()?,
    };
    Some((identity, fields.next()?.parse().ok()?))
}

fn read_note_line(line: &str) -> Option<(Digest, String)> {
    let (key, note) = line.split_once(' ')?;
    Some((key.parse().ok()?, serde_json::from_str(note).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Sets the modification time back; the change time is now, as the kernel has it.
    fn write(path: &Path, content: &str) {
        fs::write(path, content).unwrap();
        let old = SystemTime::now() - Duration::from_secs(3600);
        File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }

    #[test]
    fn does_not_remember_a_file_that_changed_a_moment_ago() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("header.h");
        let mut memo = FileDigests::open(folder.path(), DigestTrust::ChangeTime);
        write(&path, "one");
        assert_eq!(memo.digest(&path).unwrap(), Digest::of_bytes(b"one"));
        assert!(memo.files.is_empty());
        write(&path, "two");
        assert_eq!(memo.digest(&path).unwrap(), Digest::of_bytes(b"two"));
    }

    #[test]
    fn reads_a_settled_file_once_and_again_after_a_change_that_hides_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("header.h");
        write(&path, "one");
        let identity = Identity::of(&fs::metadata(&path).unwrap());
        let mut memo = FileDigests::open(folder.path(), DigestTrust::ChangeTime);
        // Stands in for two seconds of waiting; a wrong digest shows that the file is not read.
        memo.files.insert(identity, Digest::of_bytes(b"remembered"));
        memo.news = true;
        memo.save().unwrap();

        let mut again = FileDigests::open(folder.path(), DigestTrust::ChangeTime);
        assert_eq!(again.digest(&path).unwrap(), Digest::of_bytes(b"remembered"));
        assert_eq!(
            FileDigests::open(folder.path(), DigestTrust::Nothing).digest(&path).unwrap(),
            Digest::of_bytes(b"one")
        );

        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        std::thread::sleep(Duration::from_millis(30));
        fs::write(&path, "two").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_eq!(again.digest(&path).unwrap(), Digest::of_bytes(b"two"));
    }

    #[test]
    fn ignores_a_damaged_memo_and_keeps_what_others_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let key = |text: &str| Digest::of_bytes(text.as_bytes());
        let mut one = FileDigests::open(folder.path(), DigestTrust::ChangeTime);
        let mut other = FileDigests::open(folder.path(), DigestTrust::ChangeTime);
        one.take_note(key("a"), "first\nnote".to_owned());
        one.save().unwrap();
        other.take_note(key("b"), "second".to_owned());
        other.save().unwrap();
        let both = FileDigests::open(folder.path(), DigestTrust::ChangeTime);
        assert_eq!(both.note(&key("a")), Some("first\nnote"));
        assert_eq!(both.note(&key("b")), Some("second"));

        let place = folder.path().join(FILE_NAME);
        let whole = fs::read(&place).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&place, &damaged).unwrap();
            let memo = FileDigests::open(folder.path(), DigestTrust::ChangeTime);
            assert!(memo.notes.is_empty(), "flipped a bit at {at}");
        }
        fs::write(&place, &whole[..whole.len() / 2]).unwrap();
        assert!(FileDigests::open(folder.path(), DigestTrust::ChangeTime).notes.is_empty());
    }

    #[test]
    fn settles_after_two_seconds() {
        let stamp = |seconds: i128| Identity {
            device: 1,
            inode: 1,
            size: 1,
            modified_ns: 0,
            changed_ns: seconds * 1_000_000_000,
        };
        let now = UNIX_EPOCH + Duration::from_secs(100);
        assert!(stamp(97).has_settled(now));
        assert!(!stamp(98).has_settled(now) && !stamp(100).has_settled(now) && !stamp(200).has_settled(now));
    }
}
