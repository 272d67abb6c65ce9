//! Reads the commands in a compiler's log: one a line, whatever stands around them.

use std::path::Path;
use std::rc::Rc;

use super::allowance::Allowance;
use super::call::{OptionFiles, compilations};
use super::steps::{Requests, Step};

/// Reads a log; what is no command is passed over.
pub(super) fn read_text(
    text: &str,
    path: &Path,
    directory: &Path,
    files: &OptionFiles,
    allowance: &mut Allowance,
    requests: &mut Requests,
) {
    let origin: Rc<Path> = Rc::from(path);
    let mut exported = String::new();
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").lines() {
        let command = without_mark(line);
        // What a script shows that it exports holds for the lines behind it.
        if command.starts_with("export NVCC_") && exported.len() + command.len() < 64 << 10 {
            exported.push_str(command);
            exported.push('\n');
        }
        let whole = format!("{exported}{command}");
        let compilations = compilations(&whole, directory, files, allowance);
        if !compilations.is_empty() {
            requests.add(&origin, Step { outputs: Vec::new(), inputs: Vec::new(), compilations });
        }
        if !allowance.take(whole.len()) {
            return;
        }
    }
}

/// A line without what a build tool or a tracing shell puts in front: `[1/2] `, `+ `, `$ `.
fn without_mark(line: &str) -> &str {
    let line = line.trim_start();
    let counted = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).filter(|(count, _)| {
        count.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'/' | b'%' | b' '))
    });
    let line = counted.map_or(line, |(_, rest)| rest);
    line.trim_start_matches('+').trim_start_matches("$ ").trim_start()
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::requested::claim::tests::exact;

    fn read(text: &str) -> Requests {
        let mut requests = Requests::default();
        let (files, mut allowance) = (OptionFiles::default(), Allowance::default());
        read_text(text, Path::new("/b/log"), Path::new("/b"), &files, &mut allowance, &mut requests);
        requests
    }

    #[test]
    fn reads_a_log_and_leaves_link_steps_out() {
        let log = "[1/2] cd /b && /usr/bin/nvcc '-gencode' \"arch=compute_100a,code=sm_100a\" \\\n -c k.cu -o k.o; echo\n\
                   [2/2] nvcc -shared k.o -o k.so\nnote: nvcc was here\n";
        assert_eq!(read(log).distinct_claims(), [exact("sm_100a")]);
        assert!(read("nothing to do").is_empty());
    }

    #[test]
    fn an_export_holds_for_the_lines_behind_it() {
        let log = "+ export NVCC_APPEND_FLAGS='-gencode arch=compute_90,code=sm_90'\n\
                   + nvcc -gencode arch=compute_100a,code=sm_100a -c k.cu -o k.o\n";
        let claims = read(log).distinct_claims();
        assert_eq!((claims.len(), claims[0].images.len()), (1, 2));
    }
}
