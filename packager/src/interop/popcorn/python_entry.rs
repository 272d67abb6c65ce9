//! What is wrong with a Python entry, as far as its lines tell: no parser of Python.

use crate::escape;

/// The function that a problem calls.
pub(super) const ENTRY: &str = "custom_kernel";

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

/// Whether a text gives a name to who imports it: a function, an assignment, a class or an import.
pub(super) fn gives(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let words = || line.split(|one: char| !one.is_ascii_alphanumeric() && one != '_');
        let is_import =
            (line.starts_with("from ") || line.starts_with("import ")) && words().any(|one| one == name);
        let starts =
            |before: &str| line.strip_prefix(before).is_some_and(|rest| words_start(rest.trim_start(), name));
        let assigned = line.strip_prefix(name).map(str::trim_start);
        is_import
            || starts("def ")
            || starts("async def ")
            || starts("class ")
            || assigned.is_some_and(|rest| rest.starts_with([':', '=']) && !rest.starts_with("=="))
    })
}

fn words_start(text: &str, name: &str) -> bool {
    let is_part = |one: char| one.is_alphanumeric() || one == '_';
    text.strip_prefix(name).is_some_and(|rest| !rest.starts_with(is_part))
}

/// The only statement of the entry, where that does nothing yet.
pub(super) fn placeholder(text: &str) -> Option<(usize, String)> {
    let mut lines = text.lines().enumerate().skip_while(|(_, line)| {
        !line.strip_prefix("def ").is_some_and(|rest| words_start(rest.trim_start(), ENTRY))
    });
    let mut depth = 0_i64;
    let mut rest_of_head = String::new();
    for (_, line) in lines.by_ref() {
        let code = line.split('#').next().unwrap_or_default();
        let count = |one: &[char]| i64::try_from(code.matches(one).count()).unwrap_or(i64::MAX);
        depth += count(&['(', '[']) - count(&[')', ']']);
        if depth <= 0 {
            code.rsplit_once(':').unwrap_or_default().1.trim().clone_into(&mut rest_of_head);
            break;
        }
    }
    if is_nothing(&rest_of_head) {
        return Some((text.lines().position(|line| line.contains(&rest_of_head))? + 1, rest_of_head));
    }
    let (mut found, mut open) = (None, None);
    for (index, line) in lines.take_while(|(_, line)| line.is_empty() || line.starts_with([' ', '\t', '#'])) {
        let line = line.trim();
        if let Some(quotes) = open {
            open = (!line.contains(quotes)).then_some(quotes);
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(quotes) = ["\"\"\"", "'''"].into_iter().find(|quotes| line.starts_with(quotes)) {
            open = (!line[quotes.len()..].contains(quotes)).then_some(quotes);
            continue;
        }
        if found.is_some() || !is_nothing(line) {
            return None;
        }
        found = Some((index + 1, escape::line(line)));
    }
    found
}

fn is_nothing(statement: &str) -> bool {
    let statement = statement.split('#').next().unwrap_or_default().trim();
    matches!(statement, "pass" | "...") || statement.starts_with("raise NotImplementedError")
}

/// The lines that let torch compile a text, where no flag in the file names an architecture.
pub(super) fn compiles_for_the_default(text: &str) -> Vec<usize> {
    let code = |line: &&str| !line.trim_start().starts_with('#');
    let names_one = |line: &str| {
        ["arch=", "-gencode", "ARCH_LIST"].iter().any(|mark| {
            line.match_indices(mark)
                .any(|(at, _)| !line[..at].ends_with(|one: char| one.is_ascii_alphanumeric()))
                || *mark == "ARCH_LIST" && line.contains(mark)
        })
    };
    if text.lines().filter(code).any(names_one) {
        return Vec::new();
    }
    let compiles = |line: &str| COMPILERS.iter().any(|call| line.contains(call));
    let is_call = |line: &&str| compiles(line) && !line.trim_start().starts_with("def ");
    text.lines()
        .enumerate()
        .filter(|(_, line)| code(line) && is_call(line))
        .map(|(index, _)| index + 1)
        .collect()
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
    fn a_name_is_given_by_whatever_binds_it() {
        for text in [
            "def custom_kernel(data):\n",
            "if x:\n    def custom_kernel (data): pass\n",
            "custom_kernel = run\n",
            "from a import b as custom_kernel\n",
            "custom_kernel: object = run",
        ] {
            assert!(gives(text, ENTRY), "{text}");
        }
        for text in [
            "def custom_kernels(data):\n",
            "# def custom_kernel(data)\n",
            "custom_kernel(data)\n",
            "x == custom_kernel",
        ] {
            assert!(!gives(text, ENTRY), "{text}");
        }
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
        ] {
            assert_eq!(placeholder(text).map(|(line, _)| line), Some(line), "{text}");
        }
        for text in [
            "def custom_kernel(data):\n    return data\n",
            "def custom_kernel(data):\n    pass\n    return 1\n",
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
        assert_eq!(compiles_for_the_default(&format!("{text}# -arch=sm_100a\n")), [2]);
    }
}
