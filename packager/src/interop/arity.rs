//! Whether an entry takes as many arguments as a board passes, as far as its source tells.

use super::pieces::{Piece, Pieces};
use super::{flashinfer, python, solexec};
use crate::artifact::Artifact;

/// How many arguments a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arity {
    /// Those without a default.
    pub(crate) least: usize,
    /// All of them; `None` where there is no end.
    pub(crate) most: Option<usize>,
}

impl Arity {
    fn admits(self, count: usize) -> bool {
        self.least <= count && self.most.is_none_or(|most| count <= most)
    }
}

/// What is to be noted of an entry that takes another number of arguments than its definition has.
#[must_use]
pub fn note(artifact: &Artifact) -> Option<String> {
    let build = &artifact.manifest().build;
    let (inputs, outputs) = signature(artifact.definition()?)?;
    let is_passed = build.destination_passing_style;
    let passed = inputs + if is_passed { outputs } else { 0 };
    let symbol = &build.entry_point.symbol;
    let (path, found) = if build.language.is_compiled() {
        in_cpp(artifact, symbol)?
    } else {
        let file = artifact.sources().iter().find(|source| source.path == build.entry_point.file)?;
        (file.path.as_str(), vec![python::arity(&file.content, symbol)?])
    };
    if found.iter().any(|arity| arity.admits(passed)) {
        return None;
    }
    let takes = match found.first()? {
        Arity { least: 1, most: Some(1) } => "1 argument".to_owned(),
        Arity { least, most: Some(most) } if least == most => format!("{most} arguments"),
        Arity { least, most: Some(most) } => format!("{least} to {most} arguments"),
        Arity { least, most: None } => format!("at least {least} arguments"),
    };
    let outputs = if is_passed { format!("{outputs} of outputs") } else { "outputs are returned".to_owned() };
    Some(format!(
        "`{symbol}` in {path} takes {takes}, and the definition has {passed}: {inputs} of inputs, {outputs}"
    ))
}

/// The numbers of inputs and outputs of a definition of either board.
fn signature(definition: &str) -> Option<(usize, usize)> {
    if let Ok(found) = flashinfer::Definition::from_json(definition) {
        return Some((found.inputs().iter().count(), found.outputs().iter().count()));
    }
    let found = solexec::Definition::from_json(definition).ok()?;
    Some((found.inputs().iter().count(), found.outputs().iter().count()))
}

/// The functions that an entry's symbol stands for, and the file that has them.
fn in_cpp<'a>(artifact: &'a Artifact, symbol: &str) -> Option<(&'a str, Vec<Arity>)> {
    let texts = || artifact.sources().iter().map(|source| source.content.as_str());
    let name = texts().find_map(|text| bound_name(text, symbol))?;
    artifact.sources().iter().find_map(|source| {
        let found = definitions(&source.content, &name)?;
        (!found.is_empty()).then_some((source.path.as_str(), found))
    })
}

/// The function that TVM-FFI or a module gives the symbol: `…TYPED_FUNC(symbol, name)`, `.def("symbol", &name`.
fn bound_name(text: &str, symbol: &str) -> Option<String> {
    const EXPORT: &str = "TVM_FFI_DLL_EXPORT_TYPED_FUNC";
    let pieces: Vec<_> = Pieces::of(text).filter(|one| !is_blank(*one)).collect();
    let quoted = format!("\"{symbol}\"");
    let at = (0..pieces.len()).find(|&at| {
        let is_export = pieces[at] == Piece::Name(EXPORT) && pieces.get(at + 2) == Some(&Piece::Name(symbol));
        is_export || pieces[at] == Piece::Name("def") && pieces.get(at + 2) == Some(&Piece::Text(&quoted))
    })?;
    let mut rest = pieces[at + 3..].iter().skip_while(|one| matches!(one, Piece::Plain("," | "&")));
    let mut name = rest.next()?.name()?;
    // The last part of a name with its namespaces is what a definition has.
    while let (Some(Piece::Plain(":")), Some(Piece::Plain(":"))) = (rest.next(), rest.next()) {
        name = rest.next()?.name()?;
    }
    Some(name.to_owned())
}

fn is_blank(piece: Piece<'_>) -> bool {
    match piece {
        Piece::Comment(_) => true,
        Piece::Plain(text) => text.trim().is_empty(),
        Piece::Text(_) | Piece::Name(_) => false,
    }
}

/// How many arguments each function of a name takes that a text defines; `None` where one cannot be told.
fn definitions(text: &str, name: &str) -> Option<Vec<Arity>> {
    let pieces: Vec<_> = Pieces::of(text).filter(|one| !is_blank(*one)).collect();
    let mut found = Vec::new();
    for at in (0..pieces.len()).filter(|&at| pieces[at] == Piece::Name(name)) {
        if pieces.get(at + 1) != Some(&Piece::Plain("(")) {
            continue;
        }
        let Some(length) = closing(&pieces[at + 1..]) else { continue };
        let (list, behind) = (&pieces[at + 2..at + 1 + length], &pieces[at + 2 + length..]);
        let is_defined = matches!(behind.first(), Some(Piece::Plain("{") | Piece::Name("noexcept")))
            || matches!(behind, [Piece::Plain("-"), Piece::Plain(">"), ..]);
        if is_defined {
            found.push(parameters(list)?);
        }
    }
    Some(found)
}

/// Where the parenthesis closes that a list of pieces starts with.
fn closing(pieces: &[Piece<'_>]) -> Option<usize> {
    let mut depth = 0_usize;
    pieces.iter().position(|piece| {
        match piece {
            Piece::Plain("(") => depth += 1,
            Piece::Plain(")") => depth -= 1,
            _ => {}
        }
        depth == 0
    })
}

/// Counts the parameters of a list; `None` where a macro, a pack or a comparison may make it another number.
fn parameters(list: &[Piece<'_>]) -> Option<Arity> {
    if list.is_empty() || list == [Piece::Name("void")] {
        return Some(Arity { least: 0, most: Some(0) });
    }
    // A word alone may be a macro for several.
    if list.split(|piece| *piece == Piece::Plain(",")).any(|part| matches!(part, [Piece::Name(_)])) {
        return None;
    }
    let (mut depth, mut all, mut defaults) = (0_usize, 1, 0);
    for piece in list {
        match piece {
            Piece::Plain("(" | "[" | "{" | "<") => depth += 1,
            Piece::Plain(")" | "]" | "}" | ">") => depth = depth.checked_sub(1)?,
            Piece::Plain(",") if depth == 0 => all += 1,
            Piece::Plain("=") if depth == 0 => defaults += 1,
            Piece::Plain("." | "#") => return None,
            _ => {}
        }
    }
    (depth == 0 && defaults <= all).then_some(Arity { least: all - defaults, most: Some(all) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::interop::flashinfer::solution;
    use crate::submission::Submission;

    fn said(language: &str, binding: &str, text: &str, is_passed: bool) -> Option<String> {
        let file = if language == "python" { "k.py" } else { "k.cu" };
        let document = json!({"name": "n", "definition": "d", "author": "a", "spec": {"language": language,
            "target_hardware": ["cuda"], "entry_point": format!("{file}::run"), "binding": binding,
            "destination_passing_style": is_passed}, "sources": [{"path": file, "content": text}]});
        let read = solution::read(&document.to_string()).unwrap();
        // SOL-ExecBench's, which has no `op_type`.
        let definition = r#"{"name": "d", "axes": {"n": {"type": "var"}}, "inputs": {"x": {"shape": ["n"],
            "dtype": "float32"}, "w": {"shape": ["n"], "dtype": "float32"}}, "outputs": {"y": {"shape": ["n"],
            "dtype": "float32"}}, "reference": "def run(x, w): pass"}"#;
        let submission = Submission {
            solution: read.manifest().solution.clone(),
            build: read.manifest().build.clone(),
            target: read.manifest().target.clone(),
            sources: read.sources().to_vec(),
            definition: Some(definition.to_owned()),
            workloads: None,
            reference: None,
            unknown: serde_json::Map::new(),
        };
        note(&Artifact::pack(submission).unwrap())
    }

    #[test]
    fn an_entry_of_another_number_of_arguments_is_told_with_both() {
        let export = "TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, ours::go);";
        let short = format!("void go(TensorView x, Map<int, float*> w) {{}}\n{export}");
        let found = said("cuda", "tvm-ffi", &short, true).unwrap();
        assert_eq!(
            found,
            "`run` in k.cu takes 2 arguments, and the definition has 3: 2 of inputs, 1 of outputs"
        );
        let module = "PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def(\"run\", &run, \"doc\"); }";
        let torch = format!("at::Tensor run(at::Tensor x, at::Tensor w, int more) {{ return x; }}\n{module}");
        assert!(said("cuda", "torch", &torch, false).unwrap().contains("takes 3 arguments"));
        assert!(said("python", "torch", "def run(x, w):\n    pass\n", true).unwrap().contains("takes 2"));
        assert!(said("python", "torch", "def run(x, w, y):\n    pass\n", false).unwrap().contains("takes 3"));
    }

    #[test]
    fn what_fits_or_cannot_be_told_is_not_noted() {
        let export = "TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, go);";
        for text in [
            "void go(TensorView x, Map<int, float*> w, TensorView y) {}",
            "void go(TensorView x); void go(A x, B w, C y) {}",
            "void go(TensorView x, TensorView w, TensorView y, int k = f(1, 2)) noexcept {}",
            "template <typename... T> void go(T... all) {}",
            "// void go(A x) {}\nauto go = [](A x) {};",
            "#define ARGUMENTS A x, B w, C y\nvoid go(ARGUMENTS) {}",
            "void other() { go(1); }",
        ] {
            assert_eq!(said("cuda", "tvm-ffi", &format!("{text}\n{export}"), true), None, "{text}");
        }
        for text in
            ["def run(x, w, y, k=1): pass", "def run(*all): pass", "def run(x, *rest): pass", "run = f"]
        {
            assert_eq!(said("python", "torch", text, true), None, "{text}");
        }
    }
}
