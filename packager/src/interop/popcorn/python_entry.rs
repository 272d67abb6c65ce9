//! What is wrong with a Python entry, as far as its statements tell.

use crate::escape;
use crate::interop::python::{self, Statement};
use crate::target::{Arch, Feature};

/// The function that a problem calls.
pub const ENTRY: &str = "custom_kernel";

/// The directives that a leaderboard's file starts with.
const DIRECTIVE: &str = "#!POPCORN";

/// Functions of torch that compile a text.
const COMPILERS: [&str; 2] = ["load_inline(", "cpp_extension.load("];

/// The text without the directives of its first comments, and those that say something else than `ours`.
pub(super) fn without_directives(text: &str, ours: [&str; 2]) -> (String, Vec<(usize, String)>) {
    let (mut kept, mut dropped, mut is_start) = (String::with_capacity(text.len()), Vec::new(), true);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        is_start &= line.starts_with('#') || line.trim().is_empty();
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_directive = is_start
            && words.first() == Some(&DIRECTIVE)
            && words.get(1).is_some_and(|word| ["leaderboard", "gpus", "gpu"].contains(word));
        if !is_directive {
            kept.push_str(line);
        } else if !ours.contains(&words.join(" ").as_str()) {
            dropped.push((index + 1, escape::line(line.trim())));
        }
    }
    (kept, dropped)
}

/// The only statement of the entry, where that does nothing yet.
pub(super) fn placeholder(text: &str) -> Option<(usize, String)> {
    let statements = python::statements(text);
    let is_entry = |one: &Statement| {
        let name = one.code.strip_prefix("def ").map(str::trim_start);
        one.indent == 0 && name.is_some_and(|name| python::starts_with_word(name, ENTRY))
    };
    let at = statements.iter().position(is_entry)?;
    let (entry, rest) = (&statements[at], &statements[at + 1..]);
    let beside = entry.code.rsplit_once(':').map(|(_, beside)| beside.trim());
    let mut body = rest.iter().take_while(|one| one.indent > 0);
    let (line, code) = match beside.filter(|beside| !beside.is_empty()) {
        Some(beside) => (entry.line, beside),
        None => body.next().map(|one| (one.line, one.code.as_str()))?,
    };
    if body.next().is_some() || !is_nothing(code) {
        return None;
    }
    let shown = if beside == Some(code) { code } else { text.lines().nth(line - 1)?.trim() };
    Some((line, escape::line(shown)))
}

fn is_nothing(code: &str) -> bool {
    matches!(code, "pass" | "...") || code.starts_with("raise NotImplementedError")
}

/// The lines that let torch compile a text, where no flag in the file names an architecture.
pub(super) fn compiles_for_the_default(text: &str) -> Vec<usize> {
    let text = python::without_comments(text);
    let names_one = |line: &str| {
        ["arch=", "-gencode", "ARCH_LIST"].iter().any(|mark| {
            line.match_indices(mark)
                .any(|(at, _)| !line[..at].ends_with(|one: char| one.is_ascii_alphanumeric()))
                || *mark == "ARCH_LIST" && line.contains(mark)
        })
    };
    if text.lines().any(names_one) {
        return Vec::new();
    }
    let compiles = |code: &str| COMPILERS.iter().any(|call| code.contains(call));
    let code = python::code(&text);
    let is_call = |line: &str| compiles(line) && !line.trim_start().starts_with("def ");
    code.lines().zip(1..).filter(|(line, _)| is_call(line)).map(|(_, number)| number).collect()
}

/// Code that a Python file asks for by the name of an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AskedFor {
    /// The line, from one.
    pub(super) line: usize,
    /// The architecture.
    pub(super) arch: Arch,
    /// Whether it is PTX, or comes with PTX.
    has_ptx: bool,
}

impl AskedFor {
    /// Whether a GPU runs it.
    pub(super) fn runs_on(self, gpu: Arch) -> bool {
        let Arch { number, feature } = self.arch;
        let is_later = number <= gpu.number;
        let is_same_major = number / 10 == gpu.number / 10;
        number == gpu.number
            || match feature {
                Feature::Plain => is_later && (is_same_major || self.has_ptx),
                Feature::Family => is_later && is_same_major,
                Feature::Specific => false,
            }
    }
}

/// What a file's flags ask for; nothing where one of them is put together while it runs.
pub(super) fn architectures(text: &str) -> Vec<AskedFor> {
    let mut found = Vec::new();
    for (code, line) in python::without_comments(text).lines().zip(1..) {
        let mut rest = code;
        while let Some((flag, behind)) = next_flag(rest) {
            let length = behind.find(['\'', '"', ' ', ';']).unwrap_or(behind.len());
            let (value, behind) = behind.split_at(length);
            let words = value.trim_matches(['[', ']']).split(',').take_while(|word| !word.contains('='));
            for word in words {
                let virtual_code = word.strip_prefix("compute_");
                let arch = virtual_code.map_or_else(|| word.to_owned(), |code| format!("sm_{code}"));
                let Ok(arch) = arch.parse() else { return Vec::new() };
                found.push(AskedFor { line, arch, has_ptx: virtual_code.is_some() || flag == SHORT });
            }
            rest = behind;
        }
    }
    found
}

/// A flag that names an architecture by itself.
const SHORT: &str = "-arch=";

/// The next flag in a line that says what code is made, and what stands behind it.
fn next_flag(text: &str) -> Option<(&'static str, &str)> {
    let flags = ["code=", SHORT].into_iter();
    let (at, flag) = flags.filter_map(|flag| Some((text.find(flag)?, flag))).min()?;
    let behind = &text[at + flag.len()..];
    // Not `barcode=`, and neither a keyword's value nor a comparison.
    let starts = ["[sm_", "sm_", "[compute_", "compute_"];
    if starts.iter().any(|start| behind.starts_with(start)) {
        Some((flag, behind))
    } else {
        next_flag(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directives_of_the_first_comments_are_taken_out() {
        let text = "#!POPCORN leaderboard a\n#!POPCORN gpus T4 \n# kept\n\nimport x\n#!POPCORN gpus L4\n";
        let (kept, dropped) = without_directives(text, ["#!POPCORN leaderboard a", "#!POPCORN gpus B200"]);
        assert_eq!(kept, "# kept\n\nimport x\n#!POPCORN gpus L4\n");
        assert_eq!(dropped, [(2, "#!POPCORN gpus T4".to_owned())]);
    }

    #[test]
    fn an_entry_that_does_nothing_is_found() {
        for (text, line) in [
            ("def custom_kernel(data: input_t) -> output_t:\n    pass\n", 2),
            (
                "def custom_kernel(\n    data,\n):\n    \"\"\"Adds.\n    All.\n    \"\"\"\n    # here\n    raise NotImplementedError(\"x\")\n",
                8,
            ),
            ("def custom_kernel(data): ...\n", 1),
            ("'''\ndef custom_kernel(data):\n    return 1\n'''\ndef custom_kernel(data):\n    pass\n", 6),
        ] {
            assert_eq!(placeholder(text).map(|(line, _)| line), Some(line), "{text}");
        }
        for text in [
            "def custom_kernel(data):\n    return data\n",
            "def custom_kernel(data):\n    pass\n    return 1\n",
            "# def custom_kernel(data): pass\n",
            "x = 1\n",
        ] {
            assert_eq!(placeholder(text), None, "{text}");
        }
    }

    #[test]
    fn compiling_without_an_architecture_is_found_with_its_lines() {
        let text = "from torch.utils.cpp_extension import load_inline\nm = load_inline(name='a', search=1)\n";
        assert_eq!(compiles_for_the_default(text), [2]);
        for flag in [
            "f = ['-gencode=arch=compute_100a,code=sm_100a']",
            "f = ['-arch=sm_100a']",
            "os.environ['TORCH_CUDA_ARCH_LIST'] = '10.0a'",
        ] {
            assert!(compiles_for_the_default(&format!("{text}{flag}\n")).is_empty(), "{flag}");
        }
        assert_eq!(compiles_for_the_default(&format!("{text}x = 1  # -arch=sm_100a\n")), [2]);
        assert!(compiles_for_the_default("'''\nload_inline(x)\n'''\n").is_empty());
    }
}
