//! Reads `build.ninja` files as ninja does (ninja manual, "Ninja file reference").
//!
//! Variables of a file and of a build statement are expanded where they stand, so `flags = $flags -x`
//! adds to what is known; those of a rule are expanded for each statement. `include` reads into the same
//! scope, `subninja` into one of its own. A response file is what the rule says that ninja writes.

mod syntax;

use std::cell::Cell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use super::allowance::{Allowance, TEXT_BYTES};
use super::call::{OptionFiles, compilations};
use super::steps::{Requests, Step, is_linkable};
use syntax::{assignment, logical_lines, split_build};

/// How deep rules' variables may name each other.
const EXPANSION_DEPTH: u32 = 32;
/// How often one statement may look up a variable.
const LOOKUPS: u32 = 100_000;
/// Most that all look-ups of a file may bring, in bytes, each counted a little longer than it is.
const LOOKUP_BYTES: u64 = 2 << 30;
const LOOKUP_COST_BYTES: u64 = 32;
/// How deep files may include each other.
const INCLUDE_DEPTH: u32 = 16;
/// Most files that are included.
const INCLUDES: usize = 10_000;

/// Reads a ninja file, and those that it includes, into the requests of a build folder.
pub(super) fn read(
    path: &Path,
    directory: &Path,
    files: &mut OptionFiles,
    allowance: &mut Allowance,
    requests: &mut Requests,
) {
    let Some(text) = allowance.read(path) else { return };
    read_text(&text, path, directory, files, allowance, requests);
}

/// The same for a text that is already there.
pub(super) fn read_text(
    text: &str,
    path: &Path,
    directory: &Path,
    files: &mut OptionFiles,
    allowance: &mut Allowance,
    requests: &mut Requests,
) {
    let origin = Rc::from(path);
    let scopes = vec![Scope::default()];
    let left_bytes = Cell::new(LOOKUP_BYTES);
    let mut ninja = Ninja { directory, files, allowance, requests, origin, scopes, includes: 0, left_bytes };
    ninja.file(text, 0, 0);
    if ninja.left_bytes.get() == 0 {
        ninja.allowance.note("variables of a ninja file name each other without end; the rest was not read");
    }
}

type Bindings = HashMap<String, String>;

#[derive(Default)]
struct Scope {
    parent: Option<usize>,
    variables: Bindings,
    rules: HashMap<String, Rc<Bindings>>,
}

struct Ninja<'a> {
    directory: &'a Path,
    files: &'a mut OptionFiles,
    allowance: &'a mut Allowance,
    requests: &'a mut Requests,
    origin: Rc<Path>,
    scopes: Vec<Scope>,
    includes: usize,
    left_bytes: Cell<u64>,
}

/// A statement that indented lines belong to.
enum Block {
    None,
    Rule(String, Bindings),
    Build(String, Bindings),
}

impl Ninja<'_> {
    fn file(&mut self, text: &str, scope: usize, depth: u32) {
        let mut block = Block::None;
        for line in logical_lines(text) {
            if self.allowance.is_spent() {
                return;
            }
            let is_indented = line.starts_with([' ', '\t']);
            let line = line.trim_start_matches([' ', '\t']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if is_indented {
                match &mut block {
                    Block::Rule(_, bindings) => {
                        bindings.extend(
                            assignment(line).map(|(name, value)| (name.to_owned(), value.to_owned())),
                        );
                    }
                    Block::Build(_, bindings) => {
                        if let Some((name, value)) = assignment(line) {
                            let value = self.expand(value, &mut |name| self.variable(scope, name));
                            self.allowance.take(value.len());
                            bindings.insert(name.to_owned(), value);
                        }
                    }
                    Block::None => {}
                }
                continue;
            }
            self.end(std::mem::replace(&mut block, Block::None), scope);
            block = self.statement(line, scope, depth);
        }
        self.end(block, scope);
    }

    fn statement(&mut self, line: &str, scope: usize, depth: u32) -> Block {
        let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        match word {
            "rule" => return Block::Rule(rest.trim().to_owned(), Bindings::new()),
            "build" => return Block::Build(rest.to_owned(), Bindings::new()),
            "include" | "subninja" if assignment(line).is_none() => {
                let inner = if word == "include" {
                    scope
                } else {
                    self.scopes.push(Scope { parent: Some(scope), ..Scope::default() });
                    self.scopes.len() - 1
                };
                self.include(rest, scope, inner, depth);
            }
            "default" | "pool" if assignment(line).is_none() => {}
            _ => {
                if let Some((name, value)) = assignment(line) {
                    let value = self.expand(value, &mut |name| self.variable(scope, name));
                    self.allowance.take(value.len());
                    self.scopes[scope].variables.insert(name.to_owned(), value);
                }
            }
        }
        Block::None
    }

    fn include(&mut self, path: &str, outer: usize, inner: usize, depth: u32) {
        self.includes += 1;
        let path = self.expand(path.trim(), &mut |name| self.variable(outer, name));
        let place = self.files.place(&path, self.directory);
        if depth >= INCLUDE_DEPTH || self.includes > INCLUDES {
            return self.allowance.note(format!("{path}: ninja files include each other without end"));
        }
        // What lies elsewhere is no part of this build folder.
        let root = self.files.root.clone();
        let is_inside = root.is_none_or(|root| place.canonicalize().is_ok_and(|real| real.starts_with(root)));
        if !is_inside {
            return self.allowance.note(format!("{path}: included by a build file, and not in this folder"));
        }
        if let Some(text) = self.allowance.read(&place) {
            self.file(&text, inner, depth + 1);
        }
    }

    fn end(&mut self, block: Block, scope: usize) {
        match block {
            Block::None => {}
            Block::Rule(name, bindings) => {
                self.scopes[scope].rules.insert(name, Rc::new(bindings));
            }
            Block::Build(line, bindings) => self.build(&line, &bindings, scope),
        }
    }

    fn variable(&self, scope: usize, name: &str) -> Option<String> {
        let mut at = Some(scope);
        while let Some(index) = at {
            let scope = &self.scopes[index];
            if let Some(value) = scope.variables.get(name) {
                return Some(value.clone());
            }
            at = scope.parent;
        }
        None
    }

    fn rule(&self, scope: usize, name: &str) -> Option<Rc<Bindings>> {
        let mut at = Some(scope);
        while let Some(index) = at {
            let scope = &self.scopes[index];
            if let Some(rule) = scope.rules.get(name) {
                return Some(rule.clone());
            }
            at = scope.parent;
        }
        None
    }

    fn build(&mut self, line: &str, bindings: &Bindings, scope: usize) {
        let Some(parts) = split_build(line) else { return };
        if parts.rule == "phony" {
            return;
        }
        let path = |raw: &String| {
            self.expand(raw, &mut |name| bindings.get(name).cloned().or_else(|| self.variable(scope, name)))
        };
        let outputs: Vec<String> = parts.outputs.iter().map(path).collect();
        let inputs: Vec<String> = parts.inputs.iter().map(path).collect();
        let implicit: Vec<String> = parts.implicit.iter().map(path).collect();
        let held: usize = outputs.iter().chain(&inputs).chain(&implicit).map(String::len).sum();
        if !self.allowance.take(held) {
            return;
        }
        let explicit_outputs = &outputs[..parts.explicit_outputs.min(outputs.len())];
        let rule = self.rule(scope, &parts.rule).unwrap_or_default();
        let edge = Edge {
            bindings,
            rule: &rule,
            inputs: inputs.iter().map(|path| quoted(path)).collect::<Vec<_>>().join(" "),
            outputs: explicit_outputs.iter().map(|path| quoted(path)).collect::<Vec<_>>().join(" "),
            lookups: Cell::new(LOOKUPS),
        };
        let value = |name: &str| self.of_edge(&edge, scope, name, 0);
        let command = value("command").unwrap_or_default();
        let response = value("rspfile").zip(value("rspfile_content"));
        if edge.lookups.get() == 0 {
            let first = outputs.first().map_or("", String::as_str);
            return self.allowance.note(format!("{first}: its variables name each other without end"));
        }
        self.allowance.take(command.len());
        let response = response.map(|(name, content)| (self.files.place(&name, self.directory), content));
        let given = response.map(|(place, content)| {
            self.files.given.insert(place.clone(), content);
            place
        });
        let compilations = compilations(&command, self.directory, self.files, self.allowance);
        if let Some(place) = given {
            self.files.given.remove(&place);
        }
        let places =
            |paths: &[String]| paths.iter().map(|path| self.files.place(path, self.directory)).collect();
        let linked: Vec<String> =
            inputs.into_iter().chain(implicit).filter(|path| is_linkable(Path::new(path))).collect();
        let step = Step { outputs: places(&outputs), inputs: places(&linked), compilations };
        if !step.compilations.is_empty() || !step.inputs.is_empty() {
            self.requests.add(&self.origin, step);
        }
    }

    /// A variable as a build statement sees it: its own, the rule's, the file's.
    fn of_edge(&self, edge: &Edge<'_>, scope: usize, name: &str, depth: u32) -> Option<String> {
        let spent = edge.lookups.get() == 0 || self.left_bytes.get() == 0;
        edge.lookups.set(edge.lookups.get().saturating_sub(1));
        if spent {
            return None;
        }
        match name {
            "in" | "in_newline" => return Some(edge.inputs.clone()),
            "out" => return Some(edge.outputs.clone()),
            _ => {}
        }
        if let Some(value) = edge.bindings.get(name) {
            return Some(value.clone());
        }
        match edge.rule.get(name) {
            Some(raw) if depth < EXPANSION_DEPTH => {
                Some(self.expand(raw, &mut |name| self.of_edge(edge, scope, name, depth + 1)))
            }
            Some(_) => None,
            None => self.variable(scope, name),
        }
    }

    /// Replaces `$name` and `${name}`; what would grow out of all bounds ends with a mark that makes a
    /// claim unclear.
    fn expand(&self, text: &str, value: &mut dyn FnMut(&str) -> Option<String>) -> String {
        let mut value = |name: &str| {
            let found = (self.left_bytes.get() > 0).then(|| value(name)).flatten().unwrap_or_default();
            let cost = LOOKUP_COST_BYTES + found.len() as u64;
            self.left_bytes.set(self.left_bytes.get().saturating_sub(cost));
            found
        };
        let mut output = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            output.push_str(before);
            if output.len() > TEXT_BYTES {
                return output;
            }
            let braced = after.strip_prefix('{').and_then(|braced| braced.split_once('}'));
            let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
            let length = after.find(|letter| !is_name(letter)).unwrap_or(after.len());
            rest = match (braced, after.chars().next()) {
                (Some((name, behind)), _) => {
                    output.push_str(&value(name));
                    behind
                }
                (None, Some(escaped @ ('$' | ' ' | ':'))) => {
                    output.push(escaped);
                    &after[1..]
                }
                (None, _) if length > 0 => {
                    output.push_str(&value(&after[..length]));
                    &after[length..]
                }
                (None, _) => after,
            };
        }
        output.push_str(rest);
        output
    }
}

struct Edge<'a> {
    bindings: &'a Bindings,
    rule: &'a Bindings,
    inputs: String,
    outputs: String,
    lookups: Cell<u32>,
}

/// A path as ninja hands it to the shell.
fn quoted(path: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "_+-./@:,=~%".contains(letter);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;
    use crate::requested::RequestedClaim;
    use crate::requested::claim::tests::exact;

    fn requests(text: &str) -> Requests {
        let mut requests = Requests::default();
        let (mut files, mut allowance) = (OptionFiles::default(), Allowance::default());
        let path = Path::new("/b/build.ninja");
        read_text(text, path, Path::new("/b"), &mut files, &mut allowance, &mut requests);
        requests.note(allowance.notes);
        requests
    }

    fn claim(text: &str, file: &str) -> Option<RequestedClaim> {
        requests(text).claim_for(&Path::new("/b").join(file), &BTreeSet::new())
    }

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
    fn a_linked_library_is_asked_for_what_its_objects_are() {
        assert_eq!(claim(TVM_FFI, "k.so").unwrap(), exact("sm_100a"));
        let stale = TVM_FFI.replace("100a", "90a");
        assert_eq!(claim(&stale, "k.so").unwrap(), exact("sm_90a"));
        assert!(requests("rule cc\n  command = gcc -c $in\nbuild a.o: cc a.c\n").is_empty());
    }

    #[test]
    fn a_files_variables_are_expanded_where_they_stand() {
        let text = "f = -gencode arch=compute_100a,code=sm_100a\nrule r\n command = nvcc $f -c $in -o $out\n\
                    build a.o: r a.cu\n f = $f -O2\nf = -arch=compute_90\nbuild b.o: r b.cu\n f = $f -code=sm_90\n";
        assert_eq!(claim(text, "a.o").unwrap(), exact("sm_100a"));
        assert_eq!(claim(text, "b.o").unwrap(), exact("sm_90"));
    }

    #[test]
    fn a_rules_own_variables_wait_for_the_statement() {
        let text = "rule r\n  flags = -arch=compute_$a -code=sm_$a\n  command = nvcc $flags -c $in -o $out\n\
                    build a.o: r a.cu\n  a = 100a\nbuild b.o: r b.cu\n  a = 90a\n";
        assert_eq!(claim(text, "a.o").unwrap(), exact("sm_100a"));
        assert_eq!(claim(text, "b.o").unwrap(), exact("sm_90a"));
    }

    #[test]
    fn what_ninja_writes_into_a_response_file_counts() {
        let text = "rule r\n  command = nvcc -gencode arch=compute_100a,code=sm_100a --options-file $out.rsp -c k.cu -o $out\n  \
                    rspfile = $out.rsp\n  rspfile_content = $more\nbuild a.o: r k.cu\n  more = -arch=compute_90 -code=sm_90\n\
                    build b.o: r k.cu\n";
        assert_eq!(claim(text, "a.o").unwrap().images.len(), 2);
        assert_eq!(claim(text, "b.o").unwrap(), exact("sm_100a"));
    }

    #[test]
    fn included_files_share_a_scope_and_subninjas_have_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let write = |name: &str, text: &str| fs::write(root.join(name), text).unwrap();
        write(
            "rules.ninja",
            "arch = 100a\nrule r\n  command = nvcc -arch=compute_$arch -code=sm_$arch -c $in -o $out\n",
        );
        write("inner.ninja", "arch = 90a\nbuild b.o: r b.cu\n");
        write(
            "build.ninja",
            "include rules.ninja\nsubninja inner.ninja\nbuild a.o: r a.cu\nsubninja build.ninja\n",
        );
        let mut requests = Requests::default();
        let mut files = OptionFiles { root: Some(root.clone()), ..OptionFiles::default() };
        let mut allowance = Allowance::default();
        read(&root.join("build.ninja"), &root, &mut files, &mut allowance, &mut requests);
        let claim = |name: &str| requests.claim_for(&root.join(name), &BTreeSet::new()).unwrap();
        assert_eq!(claim("a.o"), exact("sm_100a"));
        assert_eq!(claim("b.o"), exact("sm_90a"));
        assert!(allowance.notes[0].contains("without end"), "{:?}", allowance.notes);
    }

    #[test]
    fn variables_that_name_themselves_end() {
        let rules = "rule r\n a = $b$b\n b = $a$a\n command = nvcc $a -c $in\nbuild x.o: r x.cu\n";
        let started = std::time::Instant::now();
        let _ = requests(rules);
        let eager = format!(
            "a = 0123456789\n{}rule r\n command = nvcc $a -c $in\nbuild x.o: r x.cu\n",
            "a = $a$a\n".repeat(4000)
        );
        assert!(!requests(&eager).notes.is_empty());
        assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
    }

    #[test]
    fn paths_are_cut_at_what_is_not_escaped() {
        let line = split_build("a$ b.o $v.o | c.d: r$x k$:1.cu d.cu | e.h || f |@ g").unwrap();
        assert_eq!(line.outputs, ["a$ b.o", "$v.o", "c.d"]);
        assert_eq!((line.explicit_outputs, line.rule.as_str()), (2, "r$x"));
        assert_eq!((line.inputs.len(), line.implicit), (2, vec!["e.h".to_owned()]));
        assert_eq!(split_build("a b c"), None);
    }
}
