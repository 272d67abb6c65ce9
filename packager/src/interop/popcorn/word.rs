//! The word that the server refuses wherever it stands, in any case: it takes it for work on another stream.
//!
//! A kernel that only hands on its caller's stream needs no such work, and still cannot be written without
//! the word. Its text is therefore said with another word, as far as that means the same on this board,
//! where everything runs on the default stream:
//!
//! | in the source | here |
//! |---|---|
//! | a comment or text | `queue` |
//! | a name of the submission's own, or of the made TVM-FFI header | the same with `queue` |
//! | `cudaStream_t` | `proofmark::Queue`, the same type |
//! | `config.stream`, `call->stream` | `proofmark::queue_of(config)`, the same member |
//!
//! Everything else of CUDA, torch or C++ with the word in it is refused with its place: what makes,
//! orders or asks for streams is what the rule is there for.

use std::collections::BTreeSet;

use crate::interop::violation::FormatViolation;

/// The word, in lower case.
const WORD: &str = "stream";

/// What is said instead.
const INSTEAD: &str = "queue";

/// Names that have another with the same meaning.
const SAME: [(&str, &str); 1] = [("cudaStream_t", "proofmark::Queue")];

/// How names start or end that are not the submission's own.
const FOREIGN_STARTS: [&str; 8] = ["cuda", "CUDA", "cu", "CU", "nv", "getCurrent", "getDefault", "getStream"];
const FOREIGN: [&str; 13] = [
    "iostream",
    "istream",
    "ostream",
    "sstream",
    "fstream",
    "ifstream",
    "ofstream",
    "stringstream",
    "istringstream",
    "ostringstream",
    "streambuf",
    "streamsize",
    "CUstream",
];

/// Whether a text has the word.
#[must_use]
pub fn stands_in(text: &str) -> bool {
    text.to_ascii_lowercase().contains(WORD)
}

/// What the board needs to know of the type and the member, without the word.
pub(super) const HEADER: &str = "\
// CUDA's type for a queue of work and its place in a launch, said without the word that this board's server
// refuses wherever it stands. Everything here runs on the default queue.
#pragma once

#include <cuda_runtime.h>

namespace proofmark {

template <typename A, typename B, typename C, typename D, typename E>
E last_of(cudaError_t (*)(A, B, C, D, E));

using Queue = decltype(last_of(&cudaMemcpyAsync));

inline Queue& queue_of(cudaLaunchConfig_t& config) {
  auto& [blocks, threads, shared_bytes, queue, attributes, attribute_count] = config;
  Queue* const place = &queue;
  return *place;
}

template <typename T>
auto queue_of(T& own) -> decltype((own.queue)) {
  return own.queue;
}

}  // namespace proofmark
";

/// A source said without the word, or every place where that cannot be done.
pub(super) fn without(path: &str, text: &str) -> Result<String, Vec<FormatViolation>> {
    let mut said = String::with_capacity(text.len());
    let mut violations = Vec::new();
    let names: BTreeSet<&str> = Pieces { rest: text }.filter_map(Piece::name).collect();
    for piece in (Pieces { rest: text }) {
        match piece {
            Piece::Prose(prose) => said.push_str(&replaced(prose)),
            Piece::Plain(plain) => said.push_str(plain),
            Piece::Name(name) if !stands_in(name) => said.push_str(name),
            Piece::Name(name) => match other_name(name, &mut said, &names) {
                Ok(()) => {}
                Err(expected) => {
                    let line = said.matches('\n').count() + 1;
                    let place = format!("{path} line {line}");
                    violations.push(FormatViolation::new(place, expected, format!("`{name}`")));
                    said.push_str(name);
                }
            },
        }
    }
    if violations.is_empty() { Ok(said) } else { Err(violations) }
}

/// Says a name in another way behind what is already said; `Err` says what is expected instead.
fn other_name(name: &str, said: &mut String, names: &BTreeSet<&str>) -> Result<(), &'static str> {
    const OWN: &str = "the caller's stream handed on and nothing else of streams";
    if let Some((_, same)) = SAME.iter().find(|(known, _)| *known == name) {
        said.push_str(same);
        return Ok(());
    }
    if let Some(start) = member_of(said).filter(|_| name == WORD) {
        let (owner, is_pointer) = owner_of(&said[start..]);
        let star = if is_pointer { "*" } else { "" };
        let member = format!("proofmark::queue_of({star}{owner})");
        said.truncate(start);
        said.push_str(&member);
        return Ok(());
    }
    if is_designated(said) {
        return Err("`config.stream = …`: a designated initialiser cannot be said without the word");
    }
    let is_foreign = FOREIGN.contains(&name)
        || FOREIGN_STARTS.iter().any(|start| {
            name.strip_prefix(start).is_some_and(|rest| rest.starts_with(|one: char| one.is_uppercase()))
        });
    let is_qualified = said.ends_with("std::") || said.ends_with("cuda::") || said.ends_with("c10::");
    if is_foreign || is_qualified || said.trim_end().ends_with("#include <") {
        return Err(OWN);
    }
    let other = replaced(name);
    if names.contains(other.as_str()) {
        return Err("a name whose other spelling, with `queue`, is free");
    }
    said.push_str(&other);
    Ok(())
}

/// Where the owner of a member starts, if what is said ends with `owner.` or `owner->`.
fn member_of(said: &str) -> Option<usize> {
    let before = said.strip_suffix("->").or_else(|| said.strip_suffix('.'))?;
    let is_part = |one: char| one.is_ascii_alphanumeric() || "_.>-".contains(one);
    let owner = before.len() - before.trim_end_matches(is_part).len();
    let starts =
        before[before.len() - owner..].starts_with(|one: char| one.is_ascii_alphabetic() || one == '_');
    (owner > 0 && starts).then(|| before.len() - owner)
}

fn owner_of(text: &str) -> (&str, bool) {
    match text.strip_suffix("->") {
        Some(owner) => (owner, true),
        None => (text.trim_end_matches('.'), false),
    }
}

fn is_designated(said: &str) -> bool {
    said.strip_suffix('.').is_some_and(|before| before.trim_end().ends_with(['{', ',']))
}

/// The text with the other word, in the case of each place.
pub(super) fn replaced(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut said = String::new();
    let mut from = 0;
    for (at, word) in lower.match_indices(WORD) {
        let found = &text[at..at + word.len()];
        said.push_str(&text[from..at]);
        said.push_str(&match found {
            _ if found.chars().all(|one| one.is_ascii_uppercase()) => INSTEAD.to_ascii_uppercase(),
            _ if found.starts_with(|one: char| one.is_ascii_uppercase()) => {
                INSTEAD[..1].to_ascii_uppercase() + &INSTEAD[1..]
            }
            _ => INSTEAD.to_owned(),
        });
        from = at + word.len();
    }
    said + &text[from..]
}

/// A piece of C++ text.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Piece<'t> {
    /// A comment, or a text in quotes.
    Prose(&'t str),
    /// A name, a keyword or a number.
    Name(&'t str),
    /// Anything else.
    Plain(&'t str),
}

impl<'t> Piece<'t> {
    fn name(self) -> Option<&'t str> {
        if let Self::Name(name) = self { Some(name) } else { None }
    }
}

/// Takes C++ text apart, as far as this needs it; raw strings count as several pieces, none of them lost.
struct Pieces<'t> {
    rest: &'t str,
}

impl<'t> Iterator for Pieces<'t> {
    type Item = Piece<'t>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest;
        let first = rest.chars().next()?;
        let up_to = |end: Option<usize>| end.unwrap_or(rest.len());
        let is_part = |one: char| one.is_ascii_alphanumeric() || one == '_';
        let (length, make): (usize, fn(&'t str) -> Piece<'t>) = if rest.starts_with("//") {
            (up_to(rest.find('\n')), Piece::Prose)
        } else if let Some(inside) = rest.strip_prefix("/*") {
            (up_to(inside.find("*/").map(|at| at + "/**/".len())), Piece::Prose)
        } else if first == '"' {
            (quoted(rest), Piece::Prose)
        } else if is_part(first) {
            (up_to(rest.find(|one| !is_part(one))), Piece::Name)
        } else {
            (first.len_utf8(), Piece::Plain)
        };
        let (piece, rest) = rest.split_at(length);
        self.rest = rest;
        Some(make(piece))
    }
}

/// The length of a text in quotes, up to the end of its line where nothing closes it.
fn quoted(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, one) in text.char_indices().skip(1) {
        match one {
            '\n' => return at,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_hands_on_the_callers_stream_is_said_with_another_word() {
        let text = "// on the caller's Stream\nvoid launch(cudaStream_t stream, int streams) {\n  \
                    kernel<<<1, 2, 0, stream>>>(\"a STREAM\");\n  config.stream = stream;\n  call->stream = stream;\n}\n\
                    const auto stream = static_cast<cudaStream_t>(TVMFFIEnvGetStream(device.device_type, 0));\n";
        let said = without("k.cu", text).unwrap();
        assert!(!stands_in(&said), "{said}");
        for part in [
            "// on the caller's Queue\nvoid launch(proofmark::Queue queue, int queues) {\n",
            "<<<1, 2, 0, queue>>>(\"a QUEUE\");",
            "\n  proofmark::queue_of(config) = queue;\n  proofmark::queue_of(*call) = queue;",
            "static_cast<proofmark::Queue>(TVMFFIEnvGetQueue(device.device_type, 0))",
        ] {
            assert!(said.contains(part), "{part} not in {said}");
        }
        assert_eq!(said.lines().count(), text.lines().count());
    }

    #[test]
    fn what_makes_or_asks_for_streams_is_refused_with_its_place() {
        for text in [
            "cudaStreamCreate(&one);",
            "auto s = at::cuda::getCurrentCUDAStream();",
            "#include <sstream>",
            "std::ostringstream out;",
            "config = {.gridDim = 1, .stream = s};",
            "CUstream s;",
            "int queue; cudaStream_t stream;",
        ] {
            let found = without("k.cu", &format!("\n{text}")).unwrap_err();
            assert_eq!(found[0].place, "k.cu line 2", "{text}");
        }
    }

    #[test]
    fn a_text_without_the_word_stays_as_it_is() {
        let text = "auto x = R\"(a \\ b)\"; // it's \u{e4} 'c'\n/* unclosed";
        assert_eq!(without("k.cu", text).unwrap(), text);
    }
}
