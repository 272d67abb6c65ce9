//! Reads `compile_commands.json` (Clang documentation, "JSON Compilation Database Format").

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Deserialize;

use super::allowance::Allowance;
use super::call::{Moved, OptionFiles, compilation, compilations};
use super::shell::Call;
use super::steps::{Requests, Step};

/// One entry.
#[derive(Deserialize)]
struct Command {
    #[serde(default)]
    directory: String,
    #[serde(rename = "command")]
    line: Option<String>,
    arguments: Option<Vec<String>>,
    output: Option<String>,
}

/// Reads a compilation database; false when the text is none.
pub(super) fn read_text(
    text: &str,
    path: &Path,
    files: &mut OptionFiles,
    allowance: &mut Allowance,
    requests: &mut Requests,
) -> bool {
    let Ok(commands) = serde_json::from_str::<Vec<Command>>(text) else { return false };
    let origin: Rc<Path> = Rc::from(path);
    let here = path.parent().map_or_else(PathBuf::new, Path::to_owned);
    // A database lies in the build folder; where its folder's name is another, it was moved.
    if files.moved.is_none()
        && let Some(first) = commands.iter().map(|one| &one.directory).find(|one| !Path::new(one).is_dir())
    {
        files.moved = Some(Moved { recorded: PathBuf::from(first), actual: here.clone() });
    }
    for one in commands {
        let directory = files.place(&one.directory, &here);
        let found = match (one.arguments, one.line) {
            (Some(words), _) => {
                let call = Call {
                    environment: BTreeMap::new(),
                    words,
                    directory: directory.clone(),
                    unknown: Vec::new(),
                };
                compilation(&call, files, allowance).into_iter().collect()
            }
            (None, Some(line)) => compilations(&line, &directory, files, allowance),
            (None, None) => Vec::new(),
        };
        if found.is_empty() {
            continue;
        }
        let outputs = one.output.iter().map(|output| files.place(output, &directory)).collect();
        requests.add(&origin, Step { outputs, inputs: Vec::new(), compilations: found });
    }
    true
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::requested::claim::tests::exact;

    fn read(text: &str) -> Option<Requests> {
        let mut requests = Requests::default();
        let (mut files, mut allowance) = (OptionFiles::default(), Allowance::default());
        let path = Path::new("/b/compile_commands.json");
        read_text(text, path, &mut files, &mut allowance, &mut requests).then_some(requests)
    }

    #[test]
    fn reads_both_forms_and_knows_what_each_writes() {
        let command = "nvcc -gencode arch=compute_100a,code=sm_100a -c k.cu";
        let text = json!([
            { "directory": "/gone/build", "command": format!("{command} -o k.o") },
            { "directory": "/gone/build", "arguments": "nvcc -arch=compute_90 -code=sm_90 -c l.cu".split(' ').collect::<Vec<_>>() },
            { "directory": "/gone/build", "command": "g++ -c a.cpp" },
        ]);
        let requests = read(&text.to_string()).unwrap();
        let archs = |name: &str| requests.claim_for(Path::new(name), &BTreeSet::new()).unwrap();
        assert_eq!(archs("/b/k.o"), exact("sm_100a"), "the folder was moved");
        assert_eq!(archs("/b/l.o"), exact("sm_90"));
        assert!(read("{").is_none() && read("{}").is_none());
    }
}
