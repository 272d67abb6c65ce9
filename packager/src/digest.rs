//! Identifies content by a length-framed, domain-tagged SHA-256.
//!
//! Bare concatenation lets `("ab", "c")` and `("a", "bc")` share a hash. Here every field is
//! preceded by its length as eight little-endian bytes, and every hash starts with a domain tag
//! that names what is hashed and in which version. A changed hash input means a changed tag.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// Length of the buffer that streams a file into the hash, in bytes: large enough that the system
/// calls cost nothing beside SHA-256, small enough to stay in the L2 cache.
const STREAM_BUFFER_BYTES: usize = 256 * 1024;

/// A SHA-256 value, printed as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Hashes plain bytes, unframed: what `sha256sum` prints for a file with this content.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Hashes everything a reader yields, unframed, in constant memory.
    pub fn of_reader(mut reader: impl Read) -> io::Result<Self> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; STREAM_BUFFER_BYTES];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(Self(hash.finalize().into())),
                Ok(length) => hash.update(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Hashes everything that is written, unframed, in constant memory.
    pub fn of_written<E>(write: impl FnOnce(&mut dyn Write) -> Result<(), E>) -> Result<Self, E> {
        let mut written = Written(Sha256::new());
        write(&mut written)?;
        Ok(Self(written.0.finalize().into()))
    }

    /// The first twelve hexadecimal digits: enough for a file name, never for identity.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }

    /// The 32 raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Hashes what is written.
struct Written(Sha256);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest({self})")
    }
}

/// A text that is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a digest: expected 64 lower-case hexadecimal digits")]
pub struct DigestParseError {
    /// The text as found.
    pub found: String,
}

impl FromStr for Digest {
    type Err = DigestParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || DigestParseError { found: text.to_owned() };
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(refuse());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte =
                nibble(pair[0]).zip(nibble(pair[1])).map(|(high, low)| high << 4 | low).ok_or_else(refuse)?;
        }
        Ok(Self(bytes))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

crate::text_form!(Digest);

/// Builds a framed digest field by field.
///
/// ```
/// use proofmark_packager::DigestBuilder;
/// let one = DigestBuilder::new("example/1").text("ab").text("c").finish();
/// let other = DigestBuilder::new("example/1").text("a").text("bc").finish();
/// assert_ne!(one, other);
/// ```
#[must_use]
pub struct DigestBuilder(Sha256);

impl DigestBuilder {
    /// Starts a hash in one domain, for example `proofmark/artifact/1`.
    pub fn new(domain: &str) -> Self {
        Self(Sha256::new()).text(domain)
    }

    /// Adds one field of bytes, framed by its length.
    pub fn bytes(mut self, field: &[u8]) -> Self {
        self.0.update((field.len() as u64).to_le_bytes());
        self.0.update(field);
        self
    }

    /// Adds one field of text.
    pub fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    /// Adds one number.
    pub fn number(self, field: u64) -> Self {
        self.bytes(&field.to_le_bytes())
    }

    /// Adds another digest.
    pub fn digest(self, field: &Digest) -> Self {
        self.bytes(field.as_bytes())
    }

    /// Adds a list, framed by its count, so that neighbouring lists cannot trade items.
    pub fn list<T>(
        self,
        items: impl ExactSizeIterator<Item = T>,
        mut add: impl FnMut(Self, T) -> Self,
    ) -> Self {
        let counted = self.number(items.len() as u64);
        items.fold(counted, &mut add)
    }

    /// Ends the hash.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_sha256_of_abc() {
        // FIPS 180-4 example.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of_bytes(b"abc").to_string(), expected);
        assert_eq!(Digest::of_reader(&b"abc"[..]).unwrap().to_string(), expected);
        assert_eq!(expected.parse::<Digest>().unwrap(), Digest::of_bytes(b"abc"));
    }

    #[test]
    fn refuses_texts_that_are_not_digests() {
        for text in ["", "abc", &"g".repeat(64), &"A".repeat(64), &"é".repeat(32)] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn tells_apart_fields_that_concatenate_alike() {
        let list = |items: &[&str], rest: &str| {
            DigestBuilder::new("test/1").list(items.iter(), |hash, item| hash.text(item)).text(rest).finish()
        };
        assert_ne!(list(&["a", "b"], "c"), list(&["a"], "bc"));
        assert_ne!(list(&["a"], "b"), list(&["a", "b"], ""));
        assert_ne!(DigestBuilder::new("test/1").finish(), DigestBuilder::new("test/2").finish());
    }
}
