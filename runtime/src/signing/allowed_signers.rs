//! Who may have signed, in the format of OpenSSH's `allowed_signers`.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use glob::Pattern;
use jiff::civil::DateTime;
use ssh_key::{Algorithm, HashAlg, PublicKey};

use super::NAMESPACE;
use super::key::SigningKey;
use crate::regular_file;

/// Largest file that is read, in bytes.
const LARGEST_BYTES: u64 = 4 << 20;

/// One line: who, and which key.
#[derive(Debug, Clone)]
struct AllowedSigner {
    principals: String,
    key: PublicKey,
    namespaces: Option<String>,
    valid_after: Option<DateTime>,
    valid_before: Option<DateTime>,
}

/// Who may have signed.
#[derive(Debug, Clone, Default)]
pub struct AllowedSigners {
    lines: Vec<AllowedSigner>,
    /// Lines that name nobody who could be checked, and why.
    pub passed_over: Vec<String>,
}

/// Why a file says nothing.
#[derive(Debug, thiserror::Error)]
pub enum AllowedSignersError {
    /// It cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could add themselves to it.
    #[error("everybody can write to `{}`, or to its folder: it says nothing of who may sign", path.display())]
    Writable {
        /// The file.
        path: PathBuf,
    },
    /// A line is not of the format.
    #[error("`{}`, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from one.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

impl AllowedSigners {
    /// One key and nobody else.
    pub fn only(key: &SigningKey) -> Self {
        let principals = key.fingerprint();
        let (key, namespaces) = (key.public().clone(), None);
        let line = AllowedSigner { principals, key, namespaces, valid_after: None, valid_before: None };
        Self { lines: vec![line], passed_over: Vec::new() }
    }

    /// Reads a file.
    pub fn open(path: &Path) -> Result<Self, AllowedSignersError> {
        let unreadable = |source| AllowedSignersError::File { path: path.to_owned(), source };
        let bytes = regular_file::read_through_links(path, LARGEST_BYTES).map_err(unreadable)?;
        if is_open_to_all(&path.canonicalize().map_err(unreadable)?).map_err(unreadable)? {
            return Err(AllowedSignersError::Writable { path: path.to_owned() });
        }
        Self::parse(&String::from_utf8_lossy(&bytes)).map_err(|(line, reason)| AllowedSignersError::Line {
            path: path.to_owned(),
            line,
            reason,
        })
    }

    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut signers = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match signer(line) {
                Ok(Parsed::Signer(signer)) => signers.lines.push(signer),
                Ok(Parsed::Other(why)) => signers.passed_over.push(format!("line {}: {why}", index + 1)),
                Err(reason) => return Err((index + 1, reason)),
            }
        }
        Ok(signers)
    }

    /// The names under which a key may sign now; none where it may not. Where one is asked for, it must be
    /// among them.
    pub fn principals(&self, key: &PublicKey, asked: Option<&str>, now: DateTime) -> Vec<String> {
        let is_valid = |signer: &&AllowedSigner| {
            signer.key.key_data() == key.key_data()
                && signer.namespaces.as_deref().is_none_or(|patterns| matches(patterns, NAMESPACE))
                && signer.valid_after.is_none_or(|after| now >= after)
                && signer.valid_before.is_none_or(|before| now < before)
                && asked.is_none_or(|asked| matches(&signer.principals, asked))
        };
        let name = |signer: &AllowedSigner| asked.map_or_else(|| signer.principals.clone(), str::to_owned);
        self.lines.iter().filter(is_valid).map(name).collect()
    }

    /// The key of a fingerprint, if it is one of these.
    pub fn key(&self, fingerprint: &str) -> Option<&PublicKey> {
        let is_it =
            |signer: &&AllowedSigner| signer.key.fingerprint(HashAlg::Sha256).to_string() == fingerprint;
        self.lines.iter().find(is_it).map(|signer| &signer.key)
    }
}

/// Whether everybody may write to a file, or put another in its place.
fn is_open_to_all(path: &Path) -> io::Result<bool> {
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let folder = path.parent().map_or(Ok(0), |folder| fs::metadata(folder).map(|found| found.mode()))?;
    let is_open = fs::metadata(path)?.mode() & OTHERS_WRITE != 0;
    // In a sticky folder, such as /tmp, nobody replaces what is another's.
    Ok(is_open || folder & OTHERS_WRITE != 0 && folder & STICKY == 0)
}

/// Whether a list of patterns, such as `*@example.com,!mallory@*`, holds a name.
fn matches(patterns: &str, name: &str) -> bool {
    let mut is_in = false;
    for pattern in patterns.split(',') {
        let (is_refused, pattern) = pattern.strip_prefix('!').map_or((false, pattern), |rest| (true, rest));
        // `[` is no pattern to OpenSSH.
        let literal = pattern.replace('[', "[[]");
        if Pattern::new(&literal).is_ok_and(|pattern| pattern.matches(name)) {
            if is_refused {
                return false;
            }
            is_in = true;
        }
    }
    is_in
}

enum Parsed {
    Signer(AllowedSigner),
    Other(String),
}

fn signer(line: &str) -> Result<Parsed, String> {
    let (principals, rest) = word(line);
    let principals = principals.trim_matches('"').to_owned();
    let names_somebody = principals.split(',').any(|one| !one.is_empty() && !one.starts_with('!'));
    let (first, behind) = word(rest);
    let is_key = |word: &str| ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start));
    let (options, key) = if is_key(first) { ("", rest) } else { (first, behind) };
    if !is_key(key) {
        return Err("expected `principals [options] key-type key`".to_owned());
    }
    let key = PublicKey::from_openssh(key.trim()).map_err(|error| format!("no key: {error}"))?;
    let (mut namespaces, mut valid_after, mut valid_before) = (None, None, None);
    for option in split_outside_quotes(options) {
        let (name, value) =
            option.split_once('=').map_or((option, ""), |(name, value)| (name, value.trim_matches('"')));
        match name.to_ascii_lowercase().as_str() {
            "namespaces" => namespaces = Some(value.to_owned()),
            "valid-after" => valid_after = Some(moment(value)?),
            "valid-before" => valid_before = Some(moment(value)?),
            "cert-authority" => return Ok(Parsed::Other("certificates are not read".to_owned())),
            other => return Err(format!("`{}` is no option", other.escape_debug())),
        }
    }
    if !names_somebody {
        return Ok(Parsed::Other("it names nobody: `!` only takes names away".to_owned()));
    }
    if key.algorithm() != Algorithm::Ed25519 {
        return Ok(Parsed::Other(format!("{} signs nothing of ours", key.algorithm())));
    }
    Ok(Parsed::Signer(AllowedSigner { principals, key, namespaces, valid_after, valid_before }))
}

/// The first word and the rest; white space within quotes belongs to a word.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let mut is_quoted = false;
    let end = text.find(|one: char| {
        is_quoted ^= one == '"';
        one.is_whitespace() && !is_quoted
    });
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    (word, rest.trim_start())
}

fn split_outside_quotes(options: &str) -> Vec<&str> {
    let mut is_quoted = false;
    let parts = options.split(move |one: char| {
        is_quoted ^= one == '"';
        one == ',' && !is_quoted
    });
    parts.filter(|part| !part.is_empty()).collect()
}

/// `YYYYMMDD[HHMM[SS]][Z]`, taken for UTC.
fn moment(text: &str) -> Result<DateTime, String> {
    let refuse = || format!("`{}` is no time: expected YYYYMMDD[HHMM[SS]]Z", text.escape_debug());
    let digits = text.strip_suffix('Z').unwrap_or(text);
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|one| one.is_ascii_digit()) {
        return Err(refuse());
    }
    let part = |from: usize, to: usize| digits.get(from..to).map_or(Ok(0), str::parse::<i8>);
    let year: i16 = digits[..4].parse().map_err(|_| refuse())?;
    let fields = [(4, 6), (6, 8), (8, 10), (10, 12), (12, 14)].map(|(from, to)| part(from, to));
    let [Ok(month), Ok(day), Ok(hour), Ok(minute), Ok(second)] = fields else { return Err(refuse()) };
    DateTime::new(year, month, day, hour, minute, second, 0).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIHAk0PFmfMLNqaVyy6vhDVXUSZ5UPYMRBcbm5hDH3lS";

    fn principals(line: &str, asked: Option<&str>) -> Vec<String> {
        let key = PublicKey::from_openssh(KEY).unwrap();
        let now = DateTime::new(2026, 11, 28, 12, 0, 0, 0).unwrap();
        AllowedSigners::parse(line).unwrap().principals(&key, asked, now)
    }

    #[test]
    fn principals_options_and_times_are_read_as_openssh_reads_them() {
        assert_eq!(principals(&format!("me@x.org {KEY} a comment"), None), ["me@x.org"]);
        assert_eq!(principals(&format!("*@x.org,!mallory@x.org {KEY}"), Some("me@x.org")), ["me@x.org"]);
        assert!(principals(&format!("*@x.org,!mallory@x.org {KEY}"), Some("mallory@x.org")).is_empty());
        assert!(principals(&format!("me {KEY}"), Some("you")).is_empty());
        assert_eq!(principals(&format!("me namespaces=\"git,proof*\" {KEY}"), None), ["me"]);
        assert!(principals(&format!("me namespaces=\"git\" {KEY}"), None).is_empty());
        assert!(principals(&format!("me valid-before=\"20261128\" {KEY}"), None).is_empty());
        assert_eq!(
            principals(&format!("me valid-after=\"202611281159Z\",valid-before=\"20270101\" {KEY}"), None),
            ["me"]
        );
        for nobody in ["!me", "!me,!you", "\"\"", "\",\""] {
            assert!(principals(&format!("{nobody} {KEY}"), None).is_empty(), "{nobody}");
            assert_eq!(AllowedSigners::parse(&format!("{nobody} {KEY}")).unwrap().passed_over.len(), 1);
        }
        assert!(principals(&format!("# me {KEY}\n\nme cert-authority {KEY}"), None).is_empty());
    }

    #[test]
    fn a_file_that_everybody_can_write_or_replace_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signers");
        fs::write(&path, format!("me {KEY}\n")).unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for (of_file, of_folder, is_open) in
            [(0o644, 0o755, false), (0o664, 0o1777, false), (0o646, 0o755, true), (0o644, 0o777, true)]
        {
            set(&path, of_file);
            set(folder.path(), of_folder);
            let opened = AllowedSigners::open(&path);
            let is_refused = matches!(opened, Err(AllowedSignersError::Writable { .. }));
            assert_eq!(is_refused, is_open, "{of_file:o} in {of_folder:o}: {opened:?}");
        }
    }

    #[test]
    fn what_is_not_of_the_format_is_named_by_its_line() {
        for wrong in ["me", "me ssh-ed25519", "me ssh-ed25519 AAAA", "me no-such-option ssh-ed25519 AAAA"] {
            assert!(AllowedSigners::parse(wrong).is_err(), "{wrong}");
        }
        let odd = AllowedSigners::parse(&format!("me {KEY}\nme valid-after=\"2026\" {KEY}")).unwrap_err();
        assert_eq!(odd.0, 2);
    }
}
