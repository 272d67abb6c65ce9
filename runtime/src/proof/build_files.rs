//! Reads requested claims where build systems keep them: ninja files, compilation databases, logs.
//!
//! These files say what should have been built, never what was: a failed or skipped step leaves
//! them ahead of the library beside them.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::command::RequestedClaim;

/// How deep ninja variables may refer to each other.
const EXPANSION_DEPTH: u32 = 16;
/// How many variables one command may expand, so that those that name each other come to an end.
const EXPANSION_LIMIT: u32 = 10_000;

/// The joint claim of all nvcc compilations in the text of a `build.ninja`; `None` without any.
pub fn claim_in_ninja(text: &str) -> Option<RequestedClaim> {
    let file = NinjaFile::read(text);
    let edges = file.edges.iter().filter_map(|edge| {
        let command = file.rules.get(edge.rule.as_str())?;
        let scopes = [&edge.variables, &file.variables];
        let mut fuel = EXPANSION_LIMIT;
        let given = format!("{} {}", expand(command, &scopes, 0, &mut fuel), edge.inputs);
        claim_of(&words(&given))
    });
    edges.reduce(RequestedClaim::merge)
}

/// The joint claim of all nvcc entries in the text of a `compile_commands.json`.
pub fn claim_in_compile_commands(text: &str) -> Option<RequestedClaim> {
    let entries: Vec<Value> = serde_json::from_str(text).ok()?;
    let commands =
        entries.iter().filter_map(|entry| match entry.get("arguments").and_then(Value::as_array) {
            Some(arguments) => Some(arguments.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            None => entry.get("command").and_then(Value::as_str).map(words),
        });
    commands.filter_map(|command| claim_of(&command)).reduce(RequestedClaim::merge)
}

/// The joint claim of all nvcc command lines in a log.
pub fn claim_in_log(text: &str) -> Option<RequestedClaim> {
    let joined = text.replace("\\\n", " ");
    joined.lines().filter_map(|line| claim_of(&words(line))).reduce(RequestedClaim::merge)
}

/// The claim of one command, if it is nvcc's and compiles something: a link step names objects and
/// asks for nothing.
fn claim_of(words: &[String]) -> Option<RequestedClaim> {
    let is_nvcc = |word: &String| Path::new(word).file_name().is_some_and(|name| name == "nvcc");
    let start = words.iter().position(is_nvcc)?;
    let end = words[start..].iter().position(|word| matches!(word.as_str(), "&&" | "||" | ";" | "|"));
    let command = &words[start..end.map_or(words.len(), |length| start + length)];
    let compiles = command.iter().any(|word| {
        let source =
            Path::new(word).extension().is_some_and(|extension| extension == "cu" || extension == "ptx");
        source || word == "-x" || word == "--x" || word.starts_with("-x=") || word.starts_with("--x=")
    });
    compiles.then(|| RequestedClaim::from_command(command))
}

/// Splits a command line as a shell would, quotes and backslashes included.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == letter => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(letters.next()),
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            (None, ';') => {
                words.extend(word.take());
                words.push(";".to_owned());
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// What of a ninja file bears on commands.
#[derive(Default)]
struct NinjaFile {
    variables: HashMap<String, String>,
    rules: HashMap<String, String>,
    edges: Vec<Edge>,
}

/// One `build` statement.
struct Edge {
    rule: String,
    inputs: String,
    variables: HashMap<String, String>,
}

/// The statement that indented lines belong to.
enum Block {
    None,
    Rule(String),
    Edge,
}

impl NinjaFile {
    fn read(text: &str) -> Self {
        let mut file = Self::default();
        let mut block = Block::None;
        for line in text.replace("$\r\n", " ").replace("$\n", " ").lines() {
            let is_indented = line.starts_with([' ', '\t']);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match (is_indented, &block) {
                (true, Block::Rule(name)) => {
                    if let Some(("command", command)) = assignment(line) {
                        file.rules.insert(name.clone(), command.to_owned());
                    }
                }
                (true, Block::Edge) => {
                    if let (Some((name, value)), Some(edge)) = (assignment(line), file.edges.last_mut()) {
                        edge.variables.insert(name.to_owned(), value.to_owned());
                    }
                }
                (true, Block::None) => {}
                (false, _) => block = file.statement(line),
            }
        }
        file
    }

    fn statement(&mut self, line: &str) -> Block {
        if let Some(name) = line.strip_prefix("rule ") {
            return Block::Rule(name.trim().to_owned());
        }
        if let Some(rest) = line.strip_prefix("build ") {
            // Outputs may hold escaped colons; the first plain one ends them.
            let Some((_, right)) =
                rest.replace("$:", " ").split_once(':').map(|(l, r)| (l.to_owned(), r.to_owned()))
            else {
                return Block::None;
            };
            let (rule, inputs) = right.trim().split_once(' ').unwrap_or((right.trim(), ""));
            let inputs = inputs.split('|').next().unwrap_or_default().to_owned();
            let variables = HashMap::from([("in".to_owned(), inputs.clone())]);
            self.edges.push(Edge { rule: rule.to_owned(), inputs, variables });
            return Block::Edge;
        }
        if let Some((name, value)) = assignment(line) {
            self.variables.insert(name.to_owned(), value.to_owned());
        }
        Block::None
    }
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let plain =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    plain.then(|| (name, value.trim()))
}

/// Replaces `$name` and `${name}` by the innermost scope that knows it.
fn expand(text: &str, scopes: &[&HashMap<String, String>], depth: u32, fuel: &mut u32) -> String {
    let mut output = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        output.push_str(before);
        *fuel = fuel.saturating_sub(1);
        if depth > EXPANSION_DEPTH || *fuel == 0 {
            return output;
        }
        if let Some(escaped) = after.strip_prefix(['$', ' ', ':']) {
            output.push_str(&after[..after.len() - escaped.len()]);
            rest = escaped;
            continue;
        }
        let braced = after.strip_prefix('{').and_then(|braced| braced.split_once('}'));
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
        let plain = || after.split_at(after.find(|letter| !is_name(letter)).unwrap_or(after.len()));
        let (name, behind) = braced.unwrap_or_else(plain);
        if let Some(value) = scopes.iter().find_map(|scope| scope.get(name)) {
            output.push_str(&expand(value, scopes, depth + 1, fuel));
        }
        rest = behind;
    }
    output.push_str(rest);
    output
}

#[cfg(test)]
mod tests {
    use proofmark_packager::Arch;

    use super::*;

    const TVM_FFI: &str = "\
ninja_required_version = 1.3
nvcc = /usr/local/cuda/bin/nvcc
cuda_cflags = -Xcompiler -fPIC -std=c++17 -O2 -gencode=arch=compute_100a,code=sm_100a $
    -I/include
ldflags = -shared -lcudart

rule compile_cuda
  depfile = $out.d
  command = $nvcc --generate-dependencies-with-compile --dependency-output $out.d $cuda_cflags -c $in -o $out
rule link
  command = $cxx $in $ldflags -o $out

build cuda_0.o: compile_cuda /tmp/k.cu
build k.so: link cuda_0.o
";

    #[test]
    fn reads_the_request_of_a_ninja_file() {
        assert!(claim_in_ninja(TVM_FFI).unwrap().is_exactly(Arch::SM_100A));
        let stale = TVM_FFI.replace("100a", "90a");
        assert!(!claim_in_ninja(&stale).unwrap().is_exactly(Arch::SM_100A));
        assert_eq!(claim_in_ninja("rule cc\n  command = gcc -c $in\nbuild a.o: cc a.c\n"), None);
    }

    #[test]
    fn variables_that_name_themselves_end() {
        let text = "a = $b$b\nb = $a$a\nrule r\n command = nvcc $a -c $in\nbuild x.o: r x.cu\n";
        assert!(!claim_in_ninja(text).unwrap().unclear.is_empty());
    }

    #[test]
    fn reads_both_forms_of_a_compilation_database() {
        let command = "nvcc -gencode arch=compute_100a,code=sm_100a -c k.cu";
        let as_text = serde_json::json!([{ "command": command }, { "command": "g++ -c a.cpp" }]).to_string();
        let words: Vec<&str> = command.split(' ').collect();
        let as_list = serde_json::json!([{ "arguments": words }]).to_string();
        assert!(claim_in_compile_commands(&as_text).unwrap().is_exactly(Arch::SM_100A));
        assert!(claim_in_compile_commands(&as_list).unwrap().is_exactly(Arch::SM_100A));
        assert_eq!(claim_in_compile_commands("{"), None);
    }

    #[test]
    fn reads_a_log_and_leaves_link_steps_out() {
        let log = "[1/2] cd /b && /usr/bin/nvcc '-gencode' \"arch=compute_100a,code=sm_100a\" \\\n -c k.cu -o k.o; echo\n\
                   [2/2] nvcc -shared k.o -o k.so\nnote: nvcc was here\n";
        assert!(claim_in_log(log).unwrap().is_exactly(Arch::SM_100A));
        assert_eq!(claim_in_log("nothing to do"), None);
    }
}
