//! Device code that lies in other data in a form that no driver reads as it stands: packed, written out as
//! text, or intermediate.
//!
//! A program can unpack such bytes and hand them to the driver, so they are looked for at every offset, by
//! what every unpacker needs:
//!
//! | form | found by |
//! |---|---|
//! | gzip, zlib, Zstandard, xz, bzip2, LZMA | their first bytes, at every offset |
//! | deflate without a header | its first block, at every offset of what looks random |
//! | LZ4, Snappy and other packers that keep bytes as they are | the first bytes of a cubin, container or PTX, which they keep |
//! | base64, base64url, base32, hexadecimal, base85 | long words of their letters, separators left out |
//! | strings with escapes, lists of numbers, with words between them or not | their spelling in programs |
//! | dumps of files, records of Intel and Motorola, uuencode | their lines |
//! | bytes alone in words of two, four or eight, as in wide characters, or turned round within them | the first bytes of a cubin or container, and PTX's directive |
//! | LLVM bitcode, NVVM code, Tile IR | their first bytes |
//!
//! What comes out is looked at alike, a few levels deep. No list of forms is ever whole: a program may
//! decipher, compute or fetch device code. Where a file can reach a function that loads it, what looks random is
//! therefore named as well (`opaque`); what looks like ordinary data and is device code only behind a
//! program's own arithmetic is found by no look at bytes.
//!
//! | file | noun |
//! |---|---|
//! | `stream` | packed streams, unpacked as far as they go |
//! | `spelling` | bytes written out as text |
//! | `base85` | bytes written out in 85 letters |
//! | `dump` | bytes written out line by line |
//! | `literal` | bytes written out as programs write them |
//! | `rearranged` | bytes alone in words, or turned round within them |
//! | `repeated` | numbers with the same words between them |
//! | `linear` | tables of check sums, which look random |
//! | `opaque` | bytes that look random |

mod base85;
mod dump;
mod linear;
mod literal;
mod opaque;
mod rearranged;
mod repeated;
mod spelling;
mod stream;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) use opaque::opaque;

use super::problem::Problem;
use super::scan::{self, Mark};
use super::signature;
use stream::{Stream, Unpacked};

/// How deep forms may lie in each other.
const NESTING_LIMIT: u32 = 4;
/// What all streams of one file may unpack to, in bytes: a floor for small files, and a multiple for large.
const FLOOR_BYTES: u64 = 128 << 20;
const PER_BYTE: u64 = 16;
/// What an attempt to unpack costs beside what comes out of it, in the same budget: about as much time as
/// unpacking so many bytes.
const ATTEMPT_BYTES: u64 = 2048;
/// Most bytes that one stream is unpacked to.
const STREAM_BYTES: usize = 16 << 20;
/// How far behind a range what starts in it is looked at, in bytes.
const REACH_BYTES: usize = 64 << 20;
/// Most findings of one range.
const FINDINGS_LIMIT: usize = 16;

/// How much may still be unpacked of one file.
pub(super) struct Budget {
    left: AtomicU64,
}

impl Budget {
    /// For a file of some size.
    pub(super) fn of(file_bytes: usize) -> Self {
        let bytes = FLOOR_BYTES.saturating_add((file_bytes as u64).saturating_mul(PER_BYTE));
        Self { left: AtomicU64::new(bytes) }
    }

    fn take(&self, bytes: u64) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// Device code in another form, and what may be some.
#[derive(Debug, Default)]
pub(super) struct Embedded {
    /// What holds device code.
    pub(super) found: Vec<Problem>,
    /// What was not looked at to its end, or is read by compilers for hosts as well.
    pub(super) unclear: Vec<Problem>,
}

/// Looks at everything that starts in `range` of some data.
pub(super) fn find(data: &[u8], range: Range<usize>, budget: &Budget) -> Embedded {
    let reach = data.len().min(range.end.saturating_add(REACH_BYTES));
    let data = &data[..reach];
    let mut embedded = Embedded::default();
    let mut look = Look { budget, nesting: 0, embedded: &mut embedded };
    look.at_streams(data, range.clone());
    look.at_spellings(data, range.clone());
    look.at_bare_deflate(data, range);
    embedded
}

/// Whether anything in some data is device code in another form.
pub(super) fn holds_any(data: &[u8], range: Range<usize>, budget: &Budget) -> bool {
    let Embedded { found, unclear } = find(data, range, budget);
    !found.is_empty() || !unclear.is_empty()
}

struct Look<'a> {
    budget: &'a Budget,
    nesting: u32,
    embedded: &'a mut Embedded,
}

impl Look<'_> {
    fn is_full(&self) -> bool {
        self.embedded.found.len() + self.embedded.unclear.len() >= FINDINGS_LIMIT
    }

    /// Every offset at which a stream or intermediate code may start.
    fn at_streams(&mut self, data: &[u8], range: Range<usize>) {
        let open = stream::open_lzma(data, range.clone());
        for at in stream::starts(data, range).chain(open) {
            if self.is_full() {
                return;
            }
            let rest = &data[at..];
            if let Some(name) = signature::intermediate_in_data(rest) {
                let problem = Problem::at(at as u64, format!("{name} in other data, which is not read"));
                if name == signature::BITCODE {
                    self.embedded.unclear.push(problem);
                } else {
                    self.embedded.found.push(problem);
                }
            } else if let Some(stream) = Stream::starting(rest)
                && !self.unpack(stream, rest, at as u64)
            {
                return;
            }
        }
    }

    /// Unpacks a stream and looks at what comes out, as long as the budget lasts.
    fn unpack(&mut self, stream: Stream, rest: &[u8], at: u64) -> bool {
        let name = stream.name();
        let unpacked = stream.unpack(rest, STREAM_BYTES);
        if !self.budget.take(ATTEMPT_BYTES + unpacked.bytes.len() as u64) {
            self.give_up(at);
            return false;
        }
        if unpacked.bytes.len() >= STREAM_BYTES {
            let reason = format!("a {name} stream of more than {STREAM_BYTES} bytes, which is not read");
            self.embedded.unclear.push(Problem::at(at, reason));
        }
        self.inside(&unpacked, &format!("a {name} stream"), at);
        true
    }

    fn give_up(&mut self, at: u64) {
        let reason = "more packed streams than any honest file holds, which are not read";
        if self.embedded.unclear.iter().all(|problem| problem.reason != reason) {
            self.embedded.unclear.push(Problem::at(at, reason));
        }
    }

    /// Looks at bytes that came out of something at `at`; for further forms only where it came to its end.
    fn inside(&mut self, unpacked: &Unpacked, form: &str, at: u64) {
        let bytes = &unpacked.bytes;
        let marks = scan::scan(bytes);
        let seen = marks.iter().find(|sighting| stands_for_code(bytes, sighting));
        let name = seen.map(|sighting| sighting.mark.name()).or_else(|| signature::intermediate(bytes));
        if let Some(name) = name {
            self.embedded
                .found
                .push(Problem::at(at, format!("{name} in {form} in other data, which is not read")));
            return;
        }
        if !unpacked.is_whole {
            return;
        }
        if self.nesting >= NESTING_LIMIT {
            let reason = format!("{form} in other forms, nested too deeply to be read");
            self.embedded.unclear.push(Problem::at(at, reason));
            return;
        }
        let mut inner = Embedded::default();
        let mut look = Look { budget: self.budget, nesting: self.nesting + 1, embedded: &mut inner };
        look.at_streams(bytes, 0..bytes.len());
        look.at_spellings(bytes, 0..bytes.len());
        let within = |problem: Problem| Problem::at(at, format!("{}, in {form}", problem.reason));
        self.embedded.found.extend(inner.found.into_iter().map(within));
        self.embedded.unclear.extend(inner.unclear.into_iter().map(within));
    }

    fn at_spellings(&mut self, data: &[u8], range: Range<usize>) {
        let spelled = [
            spelling::written_out(data, range.clone()),
            literal::literals(data, range.clone()),
            dump::dumps(data, range.clone()),
            repeated::repeated(data, range.clone()),
            rearranged::rearranged(data, range.clone()),
        ];
        // What is made of ordinary names and texts alike is looked at for further forms only where one begins.
        let loose = [spelling::separated(data, range.clone()), base85::words(data, range)];
        let spelled = spelled.into_iter().flatten().map(|one| (one, true));
        for ((at, spelling, bytes), is_whole) in
            spelled.chain(loose.into_iter().flatten().map(|one| (one, false)))
        {
            if self.is_full() {
                return;
            }
            if !self.budget.take(bytes.len() as u64) {
                self.give_up(at as u64);
                return;
            }
            let is_whole = is_whole || Stream::starting(&bytes).is_some();
            self.inside(&Unpacked { bytes, is_whole }, spelling, at as u64);
        }
    }

    fn at_bare_deflate(&mut self, data: &[u8], range: Range<usize>) {
        let mut decoder = stream::BareDeflate::new();
        for (start, end) in opaque::windows(data, range) {
            for at in start..end {
                if self.is_full() {
                    return;
                }
                if !stream::BareDeflate::may_start(&data[at..]) {
                    continue;
                }
                let unpacked = decoder.unpack(&data[at..], STREAM_BYTES);
                if !self.budget.take(ATTEMPT_BYTES + unpacked.bytes.len() as u64) {
                    self.give_up(at as u64);
                    return;
                }
                self.inside(&unpacked, "a deflate stream", at as u64);
            }
        }
    }
}

/// Whether a sighting in unpacked bytes is more than four bytes that happen to be a number.
fn stands_for_code(bytes: &[u8], sighting: &scan::Sighting) -> bool {
    match sighting.mark {
        Mark::Container => super::fatbin::read(bytes, sighting.offset).is_ok(),
        Mark::Wrapper | Mark::Ancient => false,
        Mark::CudaElf | Mark::PtxTarget => true,
    }
}
