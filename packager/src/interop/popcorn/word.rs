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
//! | `at::cuda::getCurrentCUDAStream()`, `.stream()` of it | the default stream |
//! | `config.stream`, `call->stream` | `proofmark::queue_of(config)`, the same member |
//!
//! Everything else of CUDA, torch or C++ with the word in it is refused with its place: what makes,
//! orders or asks for streams is what the rule is there for.

use std::collections::BTreeSet;

use crate::interop::pieces::{Piece, Pieces};
use crate::interop::violation::FormatViolation;

/// The word, in lower case.
const WORD: &str = "stream";

/// What is said instead.
const INSTEAD: &str = "queue";

/// Names that have another with the same meaning.
const SAME: [(&str, &str); 1] = [("cudaStream_t", "proofmark::Queue")];

/// What gives torch's current stream.
const CURRENT: &str = "getCurrentCUDAStream";

/// Torch's header for streams, and one that brings it and has another name.
const HEADER_OF_STREAMS: &str = "<c10/cuda/";
const HEADER_AROUND_IT: &str = "<ATen/cuda/CUDAContext";

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

/// A source that is said without the word.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Its text, with the lines where they were.
    pub text: String,
    /// What another word may change in what it does, with the lines.
    pub notes: Vec<String>,
    /// Variables that hold the caller's stream.
    callers: BTreeSet<String>,
}

/// A source said without the word, or every place where that cannot be done.
pub(super) fn without(path: &str, text: &str) -> Result<Said, Vec<FormatViolation>> {
    let mut said = Said::default();
    let mut violations = Vec::new();
    let names: BTreeSet<&str> = Pieces::of(text).filter_map(Piece::name).collect();
    let mut pieces = Pieces::of(text);
    while let Some(piece) = pieces.next() {
        let line = said.text.matches('\n').count() + 1;
        match piece {
            Piece::Comment(comment) => said.text.push_str(&replaced(comment)),
            Piece::Text(literal) => {
                if stands_in(literal) && !is_include(&said.text) {
                    let shown = crate::escape::line(literal);
                    said.notes.push(format!("{path} line {line}: the text {shown} is said with `{INSTEAD}`"));
                }
                said.text.push_str(&replaced(literal));
            }
            Piece::Plain(plain) => said.text.push_str(plain),
            Piece::Name(name) if !stands_in(name) => said.text.push_str(name),
            Piece::Name(CURRENT) if said.takes_the_callers(&mut pieces) => {
                said.notes.push(format!(
                    "{path} line {line}: `{CURRENT}` is said as the default queue, on which this server calls"
                ));
            }
            Piece::Name(WORD) if said.is_of_callers(&mut pieces) => {}
            Piece::Name(name) => {
                if let Err(expected) = other_name(name, &mut said.text, &names) {
                    let place = format!("{path} line {line}");
                    violations.push(FormatViolation::new(place, expected, format!("`{name}`")));
                    said.text.push_str(name);
                }
            }
        }
    }
    if violations.is_empty() { Ok(said) } else { Err(violations) }
}

impl Said {
    /// Says torch's current stream, whose name comes next, as the default one; `false` where more than its handle is
    /// asked for.
    fn takes_the_callers(&mut self, pieces: &mut Pieces<'_>) -> bool {
        let Some(call) = call_length(pieces.rest()) else { return false };
        let (arguments, rest) = pieces.rest().split_at(call);
        let handle = handle_length(rest);
        if handle == 0 && rest.trim_start().starts_with(['.', '-']) {
            return false;
        }
        let lines = arguments.matches('\n').count() + rest[..handle].matches('\n').count();
        pieces.pass(call + handle);
        let mut start = self.text.len();
        for qualifier in ["cuda::", "at::", "c10::", "::"] {
            start -= if self.text[..start].ends_with(qualifier) { qualifier.len() } else { 0 };
        }
        self.text.truncate(start);
        let before = self.text.trim_end().trim_end_matches(['=', '(', '{']).trim_end();
        let name = before.rsplit(|one: char| !one.is_ascii_alphanumeric() && one != '_').next();
        if let Some(name) = name.filter(|name| !name.is_empty() && before.len() < self.text.trim_end().len())
        {
            self.callers.insert(name.to_owned());
        }
        self.text.push_str("proofmark::Queue{}");
        self.text.push_str(&"\n".repeat(lines));
        true
    }

    /// Leaves out `.stream()` behind a variable that holds the caller's stream, which is its handle already.
    fn is_of_callers(&mut self, pieces: &mut Pieces<'_>) -> bool {
        let Some(before) = self.text.strip_suffix('.') else { return false };
        let name = before.rsplit(|one: char| !one.is_ascii_alphanumeric() && one != '_').next();
        let Some(call) =
            call_length(pieces.rest()).filter(|_| name.is_some_and(|name| self.callers.contains(name)))
        else {
            return false;
        };
        pieces.pass(call);
        self.text.pop();
        true
    }
}

/// The length of a call's arguments with their parentheses, if that is what a text starts with.
fn call_length(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, one) in text.char_indices() {
        match one {
            '(' => depth += 1,
            ')' if depth == 1 => return Some(at + 1),
            ')' => depth = depth.checked_sub(1)?,
            _ if depth == 0 && !one.is_whitespace() => return None,
            _ => {}
        }
    }
    None
}

/// The length of `.stream()`, if a text starts with it, else zero.
fn handle_length(text: &str) -> usize {
    let length = || {
        let rest = text.trim_start().strip_prefix('.')?.trim_start().strip_prefix(WORD)?;
        Some(text.len() - rest.len() + call_length(rest)?)
    };
    length().unwrap_or(0)
}

/// Whether what comes next is the name of an included file.
fn is_include(said: &str) -> bool {
    said.rsplit('\n').next().is_some_and(|line| line.trim_start().starts_with("#include"))
}

/// Says a name in another way behind what is already said; `Err` says what is expected instead.
fn other_name(name: &str, said: &mut String, names: &BTreeSet<&str>) -> Result<(), &'static str> {
    const OWN: &str = "the caller's stream handed on and nothing else of streams";
    if let Some((_, same)) = SAME.iter().find(|(known, _)| *known == name) {
        said.push_str(same);
        return Ok(());
    }
    if name == "CUDAStream" && said.ends_with(HEADER_OF_STREAMS) {
        said.truncate(said.len() - HEADER_OF_STREAMS.len());
        said.push_str(HEADER_AROUND_IT);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_hands_on_the_callers_stream_is_said_with_another_word() {
        let text = "// on the caller's Stream\nvoid launch(cudaStream_t stream, int streams) {\n  \
                    kernel<<<1, 2, 0, stream>>>(\"a STREAM\");\n  config.stream = stream;\n  call->stream = stream;\n}\n\
                    const auto stream = static_cast<cudaStream_t>(TVMFFIEnvGetStream(device.device_type, 0));\n";
        let Said { text: said, notes, .. } = without("k.cu", text).unwrap();
        assert_eq!(notes, ["k.cu line 3: the text \"a STREAM\" is said with `queue`"]);
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
            "at::cuda::CUDAStream s = other;",
            "at::cuda::getCurrentCUDAStream().synchronize();",
            "auto f = &at::cuda::getCurrentCUDAStream;",
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
        assert_eq!(without("k.cu", text).unwrap().text, text);
    }

    #[test]
    fn torchs_current_stream_is_the_default_one_here() {
        let text = "#include <c10/cuda/CUDAStream.h>\nauto stream = at::cuda::getCurrentCUDAStream(\n0);\n\
                    k<<<1, 1, 0, stream.stream()>>>();\n\
                    f(::c10::cuda::getCurrentCUDAStream().stream());\ncudaStream_t s = at::cuda::getCurrentCUDAStream();\n";
        let said = without("k.cu", text).unwrap();
        assert_eq!(
            said.text,
            "#include <ATen/cuda/CUDAContext.h>\nauto queue = proofmark::Queue{}\n;\nk<<<1, 1, 0, queue>>>();\n\
             f(proofmark::Queue{});\nproofmark::Queue s = proofmark::Queue{};\n"
        );
        let lines: Vec<_> = said.notes.iter().map(|note| note.split(':').next().unwrap()).collect();
        assert_eq!(lines, ["k.cu line 2", "k.cu line 5", "k.cu line 6"]);
    }
}
