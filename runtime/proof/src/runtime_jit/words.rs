//! Words in the data of host programs, in sources and in other texts, each of which means something.
//!
//! They are looked for along with the marks of device code, in one pass; which of them lie in what turns out to be
//! device code is known only later.

use std::ops::Range;
use std::sync::LazyLock;

use super::RuntimeJit;
use super::functions::FUNCTIONS;
use crate::search::Search;

/// Names that mean that a library or function is looked for. `libcuda.so` is not among them, nor are the
/// driver's functions: the static CUDA runtime holds them all.
const NAMES: [&str; 8] = [
    "libnvrtc.so",
    "nvrtcCompileProgram",
    "libnvJitLink.so",
    "nvJitLinkCreate",
    "nvPTXCompilerCompile",
    "libnvvm.so",
    "nvvmCompileProgram",
    "nvrtc64_",
];
/// Texts that CUDA source cannot do without, and host programs hardly hold otherwise.
const SOURCE: [&str; 2] = ["__global__ void", "__global__ __launch_bounds__"];
/// PTX whose target is filled in: behind this stands no digit but what a format fills.
const TARGET: &str = ".target ";
/// What a format fills, as it stands there.
const OPEN: [&str; 10] = ["%s", "%d", "sm_%", "{", "sm_{", "$", "sm_\0", "sm_\"", "\" +", "' +"];
/// Programs that compile device code.
pub(super) const PROGRAMS: [&str; 4] = ["ptxas", "nvcc", "nvlink", "cicc"];
/// A text that only the CUDA runtime holds.
const RUNTIME: &str = "cudaErrorInsufficientDriver";

/// Bytes from a word's start within which it is decided: more than the longest of them with what follows it.
pub(crate) const REACH_BYTES: usize = 32;
/// Most words of one piece that are kept: a piece that holds more is looked at once more, where it is no device code.
const WORDS_LIMIT: usize = 4096;

/// What a word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// One of [`NAMES`].
    Name(&'static str),
    /// One of [`SOURCE`].
    Source(&'static str),
    /// A target that is filled in, as one of [`OPEN`].
    OpenTarget(&'static str),
    /// One of [`PROGRAMS`], by its index, as it is to be started: behind a folder, alone, or before its options.
    Program(usize),
    /// A CUDA runtime is linked in.
    Runtime,
    /// A function of the CUDA runtime that compiles or loads device code, or the beginning of its name.
    Function,
}

impl Meaning {
    /// The sign that it is by itself.
    pub(super) fn sign(self) -> Option<RuntimeJit> {
        match self {
            Self::Name(name) => Some(RuntimeJit::Names(name.to_owned())),
            Self::Source(text) => Some(RuntimeJit::CarriesSource(text.to_owned())),
            Self::OpenTarget(open) => {
                Some(RuntimeJit::PtxTemplate(format!("{TARGET}{}", open.trim_end_matches('\0'))))
            }
            Self::Program(_) | Self::Runtime | Self::Function => None,
        }
    }
}

/// A word in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    /// Offset of its first byte.
    pub(crate) offset: u64,
    pub(super) meaning: Meaning,
}

/// Words of one piece or of several, in order of offset.
#[derive(Debug, Default)]
pub(crate) struct Words {
    /// Each of them.
    pub(crate) found: Vec<Word>,
    /// Pieces with too many, of which none is among those.
    pub(crate) crowded: Vec<(u64, u64)>,
}

impl Words {
    /// Those of a piece, of all that somebody hands over.
    pub(crate) fn of_piece(piece: &Range<usize>, each: impl FnOnce(&mut dyn FnMut(Word))) -> Self {
        let range = piece.start as u64..piece.end as u64;
        let mut found = Vec::new();
        each(&mut |word| {
            if range.contains(&word.offset) && found.len() <= WORDS_LIMIT {
                found.push(word);
            }
        });
        if found.len() > WORDS_LIMIT {
            return Self { found: Vec::new(), crowded: vec![(range.start, range.end)] };
        }
        found.sort_unstable_by_key(|word| word.offset);
        Self { found, crowded: Vec::new() }
    }

    /// Puts those of a later piece behind these.
    pub(crate) fn extend(&mut self, later: Self) {
        self.found.extend(later.found);
        self.crowded.extend(later.crowded);
    }
}

/// The words that start in `[start, end)`, of some in order of offset.
pub(crate) fn between(words: &[Word], start: u64, end: u64) -> &[Word] {
    let from = words.partition_point(|word| word.offset < start);
    let to = words.partition_point(|word| word.offset < end);
    words.get(from..to).unwrap_or_default()
}

/// What all words but one begin with, to be looked for along with other things: where that one begins, `.target` does.
pub(crate) fn beginnings() -> Vec<&'static [u8]> {
    let functions = FUNCTIONS.into_iter().filter(|function| function.starts_with("cuda"));
    let all = NAMES.into_iter().chain(SOURCE).chain(PROGRAMS).chain([RUNTIME]).chain(functions);
    all.map(str::as_bytes).collect()
}

/// The word that starts at an offset; what stands before the bytes is taken to be none of it.
pub(crate) fn word_at(bytes: &[u8], at: usize) -> Option<Word> {
    let rest = bytes.get(at..)?;
    let of = |texts: &[&'static str]| texts.iter().copied().find(|text| rest.starts_with(text.as_bytes()));
    let meaning = if let Some(name) = of(&NAMES) {
        Meaning::Name(name)
    } else if let Some(text) = of(&SOURCE) {
        Meaning::Source(text)
    } else if let Some(behind) = rest.strip_prefix(TARGET.as_bytes()) {
        Meaning::OpenTarget(OPEN.into_iter().find(|open| behind.starts_with(open.as_bytes()))?)
    } else if let Some(index) = PROGRAMS.iter().position(|name| rest.starts_with(name.as_bytes())) {
        Meaning::Program(is_started(bytes, at, PROGRAMS[index]).then_some(index)?)
    } else if rest.starts_with(RUNTIME.as_bytes()) {
        Meaning::Runtime
    } else {
        of(&FUNCTIONS).map(|_| Meaning::Function)?
    };
    Some(Word { offset: at as u64, meaning })
}

/// Whether a program's name stands as it does where it is started.
fn is_started(bytes: &[u8], at: usize, name: &str) -> bool {
    let before = at.checked_sub(1).and_then(|before| bytes.get(before));
    let behind = bytes.get(at + name.len()..).unwrap_or_default();
    matches!((before, behind), (Some(b'/' | 0), [0, ..]) | (_, [b' ', b'-', ..]))
}

static SEARCH: LazyLock<Search> = LazyLock::new(|| {
    let mut all = beginnings();
    all.push(TARGET.as_bytes());
    Search::of(&all)
});

/// The words that start in a range of a file in order of offset, each meaning once, but every function.
pub(crate) fn distinct(file: &[u8], range: &Range<usize>) -> Vec<Word> {
    let near = &file[..file.len().min(range.end.saturating_add(REACH_BYTES))];
    let mut words: Vec<Word> = Vec::new();
    SEARCH.each(&near[range.start..], |at, _| {
        let Some(word) = word_at(near, range.start + at).filter(|_| range.start + at < range.end) else {
            return;
        };
        let is_new = match word.meaning {
            Meaning::Function => words.len() < WORDS_LIMIT,
            Meaning::OpenTarget(_) => !words.iter().any(|one| matches!(one.meaning, Meaning::OpenTarget(_))),
            meaning => !words.iter().any(|one| one.meaning == meaning),
        };
        if is_new {
            words.push(word);
        }
    });
    words.sort_unstable_by_key(|word| word.offset);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meanings(text: &[u8]) -> Vec<Meaning> {
        distinct(text, &(0..text.len())).into_iter().map(|word| word.meaning).collect()
    }

    #[test]
    fn a_program_is_named_where_it_would_be_started() {
        for (text, is_named) in [
            ("/usr/bin/ptxas\0", true),
            ("\0ptxas\0", true),
            ("run ptxas -v", true),
            ("the ptxas of the toolkit\0", false),
            ("xptxas\0", false),
            ("ptxas", false),
        ] {
            let expected = if is_named { vec![Meaning::Program(0)] } else { vec![] };
            assert_eq!(meanings(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn no_word_is_the_beginning_of_another_and_each_is_decided_within_reach() {
        let all = beginnings();
        for (index, one) in all.iter().enumerate() {
            assert!(one.len() < REACH_BYTES);
            assert!(all.iter().enumerate().all(|(other, text)| other == index || !text.starts_with(one)));
        }
    }

    #[test]
    fn every_word_is_found_at_every_offset() {
        for text in beginnings() {
            for at in 0..100 {
                let bytes = [&vec![0; at + 1][..], text, &[0; 40]].concat();
                let [word] = distinct(&bytes, &(0..bytes.len()))[..] else { panic!("{text:?} at {at}") };
                assert_eq!(word.offset, at as u64 + 1);
            }
        }
    }

    #[test]
    fn a_piece_with_too_many_words_gives_none_of_them() {
        let of = |count: u64| {
            Words::of_piece(&(10..1 << 20), |take| {
                for offset in 0..count {
                    take(Word { offset, meaning: Meaning::Runtime });
                }
            })
        };
        assert_eq!(of(20).found.len(), 10);
        let words = of(WORDS_LIMIT as u64 + 11);
        assert!(words.found.is_empty() && words.crowded == [(10, 1 << 20)]);
    }

    #[test]
    fn of_many_alike_one_is_kept() {
        let text = ["nvcc -c a.cu\n".repeat(9000).as_str(), ".target %s .target %d", "libnvrtc.so"].concat();
        let expected = [Meaning::Program(1), Meaning::OpenTarget("%s"), Meaning::Name("libnvrtc.so")];
        assert_eq!(meanings(text.as_bytes()), expected);
    }
}
