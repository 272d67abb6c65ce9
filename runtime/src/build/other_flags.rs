//! Flags of the compiler of C++ and of the linker, as a torch extension has them, in a build whose every command is
//! nvcc's or the linker's with libraries by name.

use proofmark_packager::Artifact;
use proofmark_packager::interop::solexec::FlagsBeside;

use super::flags::Flags;

/// Libraries that are in the process before an extension is loaded: torch's builder names them itself.
const TORCHS: [&str; 6] = ["-lc10", "-lc10_cuda", "-ltorch", "-ltorch_cpu", "-ltorch_cuda", "-ltorch_python"];

/// The flags that a submission has beside those for nvcc.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtherFlags {
    /// For sources without device code, where they are others than nvcc's.
    pub host: Option<Vec<String>>,
    /// For the linker.
    pub linker: Vec<String>,
    /// What is left out of both, each with the reason: device code is what it is without them.
    pub left_out: Vec<String>,
}

impl OtherFlags {
    /// Those of an artifact.
    pub fn of(artifact: &Artifact) -> Self {
        let FlagsBeside { cflags, ld_flags } = FlagsBeside::of(artifact);
        let mut left_out = Vec::new();
        let host = cflags.map(|flags| keep_host(&flags, &mut left_out));
        let mut linker = ld_flags.unwrap_or_default();
        linker.retain(|flag| {
            let is_idle = is_idle(flag);
            if is_idle {
                left_out.push(format!("`{flag}`: only CUDA's libraries are linked, by name"));
            }
            !is_idle && !TORCHS.contains(&flag.as_str())
        });
        Self { host, linker, left_out }
    }
}

/// The flags that the compiler of C++ may get here.
fn keep_host(flags: &[String], left_out: &mut Vec<String>) -> Vec<String> {
    let mut kept = Vec::new();
    for flag in flags.iter().filter(|flag| !is_default(flag)) {
        let spelled = host_spelling(flag);
        match Flags::check(std::slice::from_ref(&spelled)) {
            Ok(_) => kept.push(spelled),
            Err(refusals) => {
                let reason = refusals.first().map(|one| one.reason.to_string()).unwrap_or_default();
                left_out.push(format!("`{flag}`: {reason}"));
            }
        }
    }
    kept
}

/// A flag of the host compiler as nvcc passes it on.
pub fn host_spelling(flag: &str) -> String {
    let is_nvccs = ["-D", "-U", "-I", "-O", "-std", "-l"].iter().any(|start| flag.starts_with(start));
    if !is_nvccs && flag.starts_with('-') { format!("-Xcompiler={flag}") } else { flag.to_owned() }
}

/// What every build does anyway.
pub fn is_default(flag: &str) -> bool {
    flag.ends_with("-fPIC") || flag.ends_with("-shared")
}

/// Whether a flag only says where libraries are looked for, or whether those that nothing calls are named.
fn is_idle(flag: &str) -> bool {
    flag.starts_with("-L")
        || ["-Wl,-rpath", "-Wl,--as-needed", "-Wl,--no-as-needed"].iter().any(|start| flag.starts_with(start))
}

#[cfg(test)]
mod tests {
    use proofmark_packager::interop::solexec::solution;
    use serde_json::json;

    use super::super::BuildRequest;
    use super::*;

    fn request(options: &serde_json::Value) -> (BuildRequest, Vec<String>) {
        let text = json!({"name": "n", "definition": "d", "author": "a", "spec": {"languages": ["cuda_cpp"],
            "target_hardware": ["B200"], "entry_point": "k.cu::run", "compile_options": options},
            "sources": [{"path": "k.cu", "content": "x"}]});
        let artifact = solution::read(&text.to_string()).unwrap().artifact;
        (BuildRequest::of(&artifact), OtherFlags::of(&artifact).left_out)
    }

    #[test]
    fn each_program_gets_its_own_flags_and_what_is_left_out_is_said() {
        let (request, left_out) = request(&json!({
            "cflags": ["-O2", "-Wall", "-fPIC", "-march=native"],
            "cuda_cflags": ["--use_fast_math", "-lcurand"],
            "ld_flags": ["-lcublas", "-L/opt/lib", "-lc10", "-Wl,-rpath,/opt"],
        }));
        assert_eq!(request.nvcc_flags, ["--use_fast_math", "-lcublas"]);
        assert_eq!(request.host_flags.unwrap(), ["-O2", "-Xcompiler=-Wall"]);
        let named: Vec<_> = left_out.iter().map(|one| one.split(':').next().unwrap()).collect();
        assert_eq!(named, ["`-march=native`", "`-L/opt/lib`", "`-Wl,-rpath,/opt`"]);
    }

    #[test]
    fn a_library_that_is_not_linked_here_is_refused_by_name() {
        let (request, _) = request(&json!({"ld_flags": ["-lmine", "-Wl,-T,script"]}));
        let refusals = Flags::check(&request.nvcc_flags).unwrap_err();
        let flags: Vec<_> = refusals.iter().map(|one| one.flag.as_str()).collect();
        assert_eq!(flags, ["-lmine", "-Wl,-T,script"]);
    }
}
