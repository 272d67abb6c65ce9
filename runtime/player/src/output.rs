//! What a player writes to its output and error streams: read so that it never blocks, kept in part.

use std::io::{self, Read, Write};
use std::process::Child;
use std::sync::mpsc;

use super::foreign_text::escape;

/// How much of a stream is kept: its beginning and its end.
const HEAD_BYTES: usize = 8 * 1024;
const TAIL_BYTES: usize = 24 * 1024;

/// Reads both of the child's streams to their ends, in threads of their own. The text arrives when the
/// last writer is gone; it is escaped.
pub(crate) fn collect(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let streams: Vec<Box<dyn Read + Send>> = [
        child.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
        child.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
    ]
    .into_iter()
    .flatten()
    .collect();
    std::thread::spawn(move || {
        let readers: Vec<_> =
            streams.into_iter().map(|stream| std::thread::spawn(move || keep_ends(stream))).collect();
        let texts: Vec<String> = readers.into_iter().filter_map(|reader| reader.join().ok()).collect();
        // Where the judge has stopped waiting, the text is of no use.
        let _ = sender.send(escape(&texts.concat()));
    });
    receiver
}

fn keep_ends(mut stream: impl Read) -> String {
    let (mut head, mut tail, mut dropped) = (Vec::new(), std::collections::VecDeque::<u8>::new(), 0_usize);
    let mut buffer = [0; 4096];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let into_head = count.min(HEAD_BYTES - head.len());
        head.extend_from_slice(&buffer[..into_head]);
        tail.extend(&buffer[into_head..count]);
        let excess = tail.len().saturating_sub(TAIL_BYTES);
        tail.drain(..excess);
        dropped += excess;
    }
    if dropped > 0 {
        let _ = write!(head, "\n[{dropped} bytes left out]\n");
    }
    head.extend(tail);
    String::from_utf8_lossy(&head).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_beginning_and_the_end_of_a_flood() {
        let flood = [b"first".to_vec(), vec![b'x'; 200_000], b"last".to_vec()].concat();
        let kept = keep_ends(flood.as_slice());
        assert!(kept.starts_with("first") && kept.ends_with("last"));
        assert!(kept.len() < HEAD_BYTES + TAIL_BYTES + 100 && kept.contains("bytes left out"));
        assert_eq!(keep_ends(b"short".as_slice()), "short");
    }
}
