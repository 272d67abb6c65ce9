//! How a message travels: frames, and the values in a payload.
//!
//! A frame is a head of two words, `kind` and `length`, and a payload of that many bytes. Texts are a
//! length and bytes; lists are a count and items. Every length is bounded and every byte must be
//! accounted for.

use std::io::{self, Read, Write};

use super::foreign_text::escape;

/// No frame is larger: thousands of activity records fit, a flood does not.
pub const FRAME_LIMIT_BYTES: u32 = 64 * 1024 * 1024;
/// Long bytes travel in pieces of this many.
pub const PIECE_BYTES: usize = 16 * 1024 * 1024;
/// Texts of the player's are cut to this many characters.
const FOREIGN_TEXT_LIMIT: usize = 16 * 1024;
/// No list is longer.
const LIST_LIMIT: u32 = 1 << 16;

/// A message that does not follow the layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("garbled message: {what}")]
pub struct Garbled {
    /// What is wrong.
    pub what: &'static str,
}

/// Writes one frame.
pub fn send(stream: &mut impl Write, (kind, payload): (u32, Vec<u8>)) -> io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    if length > FRAME_LIMIT_BYTES {
        return Err(io::Error::other("frame too long"));
    }
    let mut frame = Vec::with_capacity(8 + payload.len());
    frame.extend_from_slice(&kind.to_le_bytes());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&payload);
    stream.write_all(&frame)
}

/// Reads one frame: blocks until it is whole. The judge's end reads with a deadline instead.
pub fn receive(stream: &mut impl Read) -> io::Result<(u32, Vec<u8>)> {
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    let (kind, length) = parse_head(head).map_err(io::Error::other)?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload)?;
    Ok((kind, payload))
}

/// Reads a frame's head.
pub fn parse_head(head: [u8; 8]) -> Result<(u32, usize), Garbled> {
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if word(4) > FRAME_LIMIT_BYTES {
        return Err(Garbled { what: "a frame over the limit" });
    }
    Ok((word(0), word(4) as usize))
}

/// Writes a payload, value after value.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn byte(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(crate) fn word(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn long(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn float(self, value: f64) -> Self {
        self.long(value.to_bits())
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        self.word(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).raw(bytes)
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn option<T>(self, value: Option<&T>, write: impl Fn(Self, &T) -> Self) -> Self {
        match value {
            Some(value) => write(self.byte(1), value),
            None => self.byte(0),
        }
    }

    pub(crate) fn list<T>(self, items: &[T], write: impl Fn(Self, &T) -> Self) -> Self {
        items.iter().fold(self.word(u32::try_from(items.len()).unwrap_or(u32::MAX)), write)
    }
}

/// Reads a payload as hostile input.
pub(crate) struct Reader<'bytes>(pub(crate) &'bytes [u8]);

impl Reader<'_> {
    pub(crate) fn take<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], Garbled> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Garbled { what: "a message cut short" })?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Garbled> {
        self.take::<1>().map(|bytes| bytes[0])
    }

    pub(crate) fn word(&mut self) -> Result<u32, Garbled> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn long(&mut self) -> Result<u64, Garbled> {
        self.take().map(u64::from_le_bytes)
    }

    pub(crate) fn float(&mut self) -> Result<f64, Garbled> {
        self.long().map(f64::from_bits)
    }

    /// A stretch of time as a hostile player says it: a number of nanoseconds, finite and not negative.
    pub(crate) fn duration(&mut self) -> Result<f64, Garbled> {
        let value = self.float()?;
        let possible = value.is_finite() && value >= 0.0;
        if possible { Ok(value) } else { Err(Garbled { what: "a time that cannot be" }) }
    }

    pub(crate) fn truth(&mut self) -> Result<bool, Garbled> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Garbled { what: "a truth value that is neither" }),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, Garbled> {
        let length = self.word()? as usize;
        let bytes = self.0.get(..length).ok_or(Garbled { what: "bytes cut short" })?;
        self.0 = &self.0[length..];
        Ok(bytes.to_vec())
    }

    pub(crate) fn text(&mut self) -> Result<String, Garbled> {
        Ok(String::from_utf8_lossy(&self.bytes()?).into_owned())
    }

    /// A text of the player's, which may be foreign code's: escaped, so that it can be shown.
    pub(crate) fn foreign_text(&mut self) -> Result<String, Garbled> {
        self.text().map(|text| escape(&text.chars().take(FOREIGN_TEXT_LIMIT).collect::<String>()))
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Garbled>,
    ) -> Result<Option<T>, Garbled> {
        if self.truth()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(crate) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Garbled>,
    ) -> Result<Vec<T>, Garbled> {
        let count = self.word()?;
        if count > LIST_LIMIT {
            return Err(Garbled { what: "a list over the limit" });
        }
        (0..count).map(|_| read(self)).collect()
    }

    pub(crate) fn end<T>(self, value: T) -> Result<T, Garbled> {
        if self.0.is_empty() { Ok(value) } else { Err(Garbled { what: "bytes behind the message" }) }
    }
}
