//! Reads the `build.make` that `CMake`'s Makefile generators write for each target, with the flags beside it.
//!
//! They are plain: assignments, `include`, and rules whose recipes name `$(VARIABLES)`. Recipes run in the
//! top build folder; `flags.make` holds what `$(CUDA_FLAGS)` and its like stand for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::allowance::{Allowance, TEXT_BYTES};
use super::call::{Moved, OptionFiles, compilations};
use super::steps::{Requests, Step, is_linkable};

/// How deep variables may name each other.
const EXPANSION_DEPTH: u32 = 16;

/// Reads one target's `build.make`.
pub(super) fn read(path: &Path, files: &mut OptionFiles, allowance: &mut Allowance, requests: &mut Requests) {
    let Some(text) = allowance.read(path) else { return };
    let Some(top) = top_folder(path, &text) else { return };
    let mut variables = HashMap::new();
    let flags = path.with_file_name("flags.make");
    if flags.is_file() {
        let flags = allowance.read(&flags).unwrap_or_default();
        variables.extend(assignments(&flags));
    }
    variables.extend(assignments(&text));
    if let Some(recorded) = variables.get("CMAKE_BINARY_DIR") {
        files.moved = Some(Moved { recorded: PathBuf::from(recorded), actual: top.clone() });
    }
    let mut rules: HashMap<String, Rule> = HashMap::new();
    let mut order: Vec<String> = Vec::new();
    let mut current = None;
    for line in joined_lines(&text) {
        if let Some(recipe) = line.strip_prefix('\t') {
            if let Some(rule) = current.as_ref().and_then(|name| rules.get_mut(name)) {
                rule.commands.push(recipe.trim_start_matches(['@', '-', '+']).to_owned());
            }
            continue;
        }
        current = None;
        let Some((target, inputs)) = rule_line(&line) else { continue };
        let rule = rules.entry(target.clone()).or_insert_with(|| {
            order.push(target.clone());
            Rule::default()
        });
        rule.inputs.extend(inputs);
        current = Some(target);
    }
    let origin: Rc<Path> = Rc::from(path);
    for target in order {
        let Some(rule) = rules.remove(&target) else { continue };
        let mut compiled = Vec::new();
        for command in rule.commands {
            let mut fuel = TEXT_BYTES;
            let command = expand(&command, &variables, 0, &mut fuel);
            if !allowance.take(command.len()) {
                return;
            }
            compiled.extend(compilations(&command, &top, files, allowance));
        }
        let linked: Vec<PathBuf> = rule.inputs.iter().map(|input| files.place(input, &top)).collect();
        let linked: Vec<PathBuf> = linked.into_iter().filter(|input| is_linkable(input)).collect();
        if !compiled.is_empty() || !linked.is_empty() {
            let outputs = vec![files.place(&target, &top)];
            requests.add(&origin, Step { outputs, inputs: linked, compilations: compiled });
        }
    }
}

#[derive(Default)]
struct Rule {
    inputs: Vec<String>,
    commands: Vec<String>,
}

/// The folder in which the recipes run: what the name of the included flags leaves of the file's path.
fn top_folder(path: &Path, text: &str) -> Option<PathBuf> {
    let include = text.lines().find_map(|line| line.strip_prefix("include ")?.strip_suffix("/flags.make"))?;
    let depth = Path::new(include.trim()).components().count();
    path.parent()?.ancestors().nth(depth).map(Path::to_owned)
}

fn joined_lines(text: &str) -> Vec<String> {
    text.replace("\\\n", " ").lines().map(str::to_owned).collect()
}

fn assignments(text: &str) -> Vec<(String, String)> {
    let named = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let name = name.trim_end_matches([' ', ':', '?']);
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        plain.then(|| (name.to_owned(), value.trim().to_owned()))
    };
    joined_lines(text).iter().filter_map(|line| named(line)).collect()
}

/// `target: inputs`; make's own special targets are none.
fn rule_line(line: &str) -> Option<(String, Vec<String>)> {
    if line.starts_with(['#', '.', ' ', '%', '$']) {
        return None;
    }
    let mut letters = line.char_indices();
    let colon = loop {
        match letters.next()? {
            (_, '\\') => {
                letters.next();
            }
            (at, ':') => break at,
            (_, '=') => return None,
            _ => {}
        }
    };
    let words = |text: &str| -> Vec<String> {
        text.replace("\\ ", "\0").split_ascii_whitespace().map(|word| word.replace('\0', " ")).collect()
    };
    let target = words(&line[..colon]).into_iter().next()?;
    Some((target, words(&line[colon + 1..])))
}

/// Replaces `$(NAME)` and `${NAME}`; what is not known becomes nothing, as in make.
fn expand(text: &str, variables: &HashMap<String, String>, depth: u32, fuel: &mut usize) -> String {
    let mut output = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        output.push_str(before);
        *fuel = fuel.saturating_sub(before.len() + 1);
        if *fuel == 0 || depth > EXPANSION_DEPTH {
            return output;
        }
        let close = match after.chars().next() {
            Some('(') => ')',
            Some('{') => '}',
            Some('$') => {
                output.push('$');
                rest = &after[1..];
                continue;
            }
            _ => {
                rest = after;
                continue;
            }
        };
        let Some((name, behind)) = after[1..].split_once(close) else {
            rest = after;
            continue;
        };
        if let Some(value) = variables.get(name) {
            output.push_str(&expand(value, variables, depth + 1, fuel));
        }
        rest = behind;
    }
    output.push_str(rest);
    *fuel = fuel.saturating_sub(rest.len());
    output
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use proofmark_packager::Arch;

    use super::*;

    #[test]
    fn a_cmake_target_is_asked_for_what_its_flags_say() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let target = root.join("sub/CMakeFiles/one.dir");
        fs::create_dir_all(&target).unwrap();
        fs::write(
            target.join("flags.make"),
            "# comment\nCUDA_FLAGS = -O3 \"--generate-code=arch=compute_100a,code=[sm_100a]\"\n\
             CUDA_INCLUDES = --options-file sub/CMakeFiles/one.dir/i.rsp\n",
        )
        .unwrap();
        fs::write(target.join("i.rsp"), "-I/include\n").unwrap();
        fs::write(
            target.join("build.make"),
            "CMAKE_BINARY_DIR = /old/place\ninclude sub/CMakeFiles/one.dir/flags.make\n\
             sub/CMakeFiles/one.dir/k.cu.o: /src/k.cu\n\
             sub/CMakeFiles/one.dir/k.cu.o: sub/CMakeFiles/one.dir/flags.make\n\
             \t@$(CMAKE_COMMAND) -E cmake_echo_color \"Building nvcc k.cu\"\n\
             \tcd /old/place/sub && /usr/bin/nvcc $(CUDA_INCLUDES) $(CUDA_FLAGS) -x cu -c /src/k.cu -o CMakeFiles/one.dir/k.cu.o\n\
             one_OBJECTS = \\\n\"a.o\"\n\
             sub/libone.so: sub/CMakeFiles/one.dir/k.cu.o\n\t$(CMAKE_COMMAND) -E cmake_link_script x\n",
        )
        .unwrap();
        let mut requests = Requests::default();
        let mut files = OptionFiles { root: Some(root.clone()), ..OptionFiles::default() };
        read(&target.join("build.make"), &mut files, &mut Allowance::default(), &mut requests);
        for name in ["sub/libone.so", "sub/CMakeFiles/one.dir/k.cu.o"] {
            let claim = requests.claim_for(&root.join(name), &BTreeSet::new()).unwrap();
            // The file of options is named from the folder in which the compiler does not run.
            assert_eq!(claim.images.len(), 1, "{name}");
            assert_eq!(claim.images[0].arch, Arch::SM_100A, "{name}");
        }
    }

    #[test]
    fn variables_that_name_themselves_end() {
        let variables = HashMap::from([
            ("A".to_owned(), "$(B)$(B)$(B)".to_owned()),
            ("B".to_owned(), "$(A)$(A)$(A)".to_owned()),
        ]);
        let mut fuel = 100_000;
        assert!(expand("$(A)", &variables, 0, &mut fuel).len() < 100_000);
    }
}
