//! Signs in texts: constants of programs, sources, Python.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use super::RuntimeJit;
use super::words::{Word, distinct};

/// How much of a range tells whether it is text.
const PROBE_BYTES: usize = 4096;

/// Words of Python that compiles device code. Each is a call, a decorator or an import, never a mere name.
const PYTHON: [&str; 36] = [
    "@triton.jit",
    "triton.compile(",
    "triton.runtime.jit",
    "@gluon.jit",
    "@cute.jit",
    "@cute.kernel",
    "cute.compile(",
    "import cutlass.cute",
    "from cutlass.cute",
    "import cuda.tile",
    "from cuda.tile",
    "tileiras",
    "@cuda.jit",
    "from numba import cuda",
    "RawKernel(",
    "RawModule(",
    "SourceModule(",
    "load_inline(",
    "cpp_extension.load",
    "cpp_extension import load",
    "nvrtcCompileProgram",
    "nvrtc.nvrtcCreateProgram",
    "compile_ptx(",
    "tvm_ffi.cpp",
    "@wp.kernel",
    "@ti.kernel",
    "@tilelang.jit",
    "torch.compile(",
    "@torch.compile",
    "_compile_kernel(",
    "@jax.jit",
    "@helion.kernel",
    "pallas_call(",
    "cuModuleLoad",
    "cuLibraryLoad",
    "cudaLibraryLoad",
];
/// Bytes around such a word that tell whether it does something.
const AROUND_BYTES: usize = 128;
/// Imports of a package that compiles, among other things, and what of it does.
const CORE: [&str; 3] = ["from cuda.core", "import cuda.core", "from cuda import core"];
const CORE_COMPILES: [&str; 3] = ["Program", "Linker", "ObjectCode"];
/// Names of compilers as a Python program quotes them to run them.
const PROGRAMS: [(&str, [&str; 6]); 2] = [
    ("nvcc", ["\"nvcc\"", "'nvcc'", "bin/nvcc", "/nvcc\"", "\"nvcc ", "'nvcc "]),
    ("ptxas", ["\"ptxas\"", "'ptxas'", "bin/ptxas", "/ptxas\"", "\"ptxas ", "'ptxas "]),
];

static IMPORT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"import "));

/// Looks for signs in CUDA, C++ or Python text, or in any bytes that may hold some.
pub(crate) fn text_signs(text: &[u8]) -> Vec<RuntimeJit> {
    let mut signs = signs_of(&distinct(text, &(0..text.len())));
    if is_text(text) {
        signs.extend(python_signs(text));
    }
    signs.sort();
    signs.dedup();
    signs
}

/// The signs that words of one piece are, each once; of targets that are filled in the first.
pub(crate) fn signs_of(words: &[Word]) -> Vec<RuntimeJit> {
    let is_open = |sign: &RuntimeJit| matches!(sign, RuntimeJit::PtxTemplate(_));
    let mut signs: Vec<RuntimeJit> = words.iter().filter_map(|word| word.meaning.sign()).collect();
    let first_open = signs.iter().position(is_open);
    let mut at = 0..;
    signs.retain(|sign| at.next() == first_open || !is_open(sign));
    signs.sort();
    signs.dedup();
    signs
}

/// Whether bytes look like text, which may be Python.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    memchr::memchr(0, &bytes[..bytes.len().min(PROBE_BYTES)]).is_none()
}

/// Signs in Python.
pub(crate) fn python_signs(text: &[u8]) -> Vec<RuntimeJit> {
    // Every Python program that does something imports something.
    if IMPORT.find(text).is_none() {
        return Vec::new();
    }
    let has = |word: &str| memmem::find(text, word.as_bytes()).is_some();
    let uses = |word: &str| memmem::find_iter(text, word.as_bytes()).any(|at| is_used(text, at, word));
    let mut words: Vec<&str> = PYTHON.into_iter().filter(|word| uses(word)).collect();
    if CORE_COMPILES.iter().any(|name| has(name)) {
        words.extend(CORE.iter().filter(|import| uses(import)));
    }
    let words = words.into_iter().map(|word| RuntimeJit::Python(word.to_owned()));
    let starts = has("subprocess") || has("os.system") || has("ninja");
    let programs = PROGRAMS.iter().filter(|(_, quoted)| starts && quoted.iter().any(|one| has(one)));
    words.chain(programs.map(|(name, _)| RuntimeJit::Runs((*name).to_owned()))).collect()
}

/// Whether a word of Python does something where it stands: no comment has a line of its own, a decorator begins
/// one (of the program, or of a text in it), a call has arguments, and a function of the driver is called or quoted.
fn is_used(text: &[u8], at: usize, word: &str) -> bool {
    let before = &text[at.saturating_sub(AROUND_BYTES)..at];
    let line = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
    let before = before[line..].trim_ascii();
    let behind = &text[at + word.len()..text.len().min(at + word.len() + AROUND_BYTES)];
    let continues =
        |bytes: &[u8]| bytes.first().is_some_and(|&next| next == b'_' || next.is_ascii_alphanumeric());
    if before.first() == Some(&b'#') {
        false
    } else if word.starts_with('@') {
        let begins =
            before.last().is_none_or(|last| matches!(last, b'"' | b'\'')) || before.ends_with(b"\\n");
        begins && !continues(behind)
    } else if word.ends_with('(') {
        behind.first() != Some(&b')')
    } else if word.starts_with("cuModule") || word.ends_with("LibraryLoad") {
        let name = behind.iter().take_while(|&&next| continues(&[next])).count();
        matches!(behind[name..], [b'(', next, ..] if next != b')')
            || matches!(behind.get(name), Some(b'"' | b'\''))
    } else {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_calls_nvrtc_carries_the_label() {
        let text = br#"const char* s = "extern \"C\" __global__ void k(){}"; nvrtcCompileProgram(p, 0, 0);"#;
        assert_eq!(
            text_signs(text),
            [
                RuntimeJit::Names("nvrtcCompileProgram".to_owned()),
                RuntimeJit::CarriesSource("__global__ void".to_owned())
            ]
        );
        assert!(text_signs(b"int main() {}").is_empty());
    }

    #[test]
    fn ptx_with_an_open_target_is_a_sign_and_ptx_with_one_is_none() {
        for text in
            [".version 8.0\n.target %s\n", "x.target sm_%d, debug", "f'.target sm_{arch}'", ".target {t}"]
        {
            assert!(matches!(text_signs(text.as_bytes())[..], [RuntimeJit::PtxTemplate(_)]), "{text}");
        }
        for text in [".target sm_90a\n", "the .target directive", ".target triple"] {
            assert!(text_signs(text.as_bytes()).is_empty(), "{text}");
        }
    }

    #[test]
    fn python_that_compiles_is_told_from_python_that_does_not() {
        for text in [
            "import triton\n@triton.jit\ndef k(): pass\n",
            "import subprocess\nsubprocess.run(['nvcc', '-c'])\n",
            "from torch.utils import cpp_extension\ncpp_extension.load(name='x')\n",
            "import cutlass.cute as cute\n@cute.kernel\ndef k(): pass\n",
            "import cupy\nk = cupy.RawKernel(s, 'k')\n",
            "import torch\nf = torch.compile(g)\n",
            "import torch\n@torch.compile()\ndef f(): pass\n",
            "import x\nexec('import triton\\n@triton.jit\\ndef k(): pass')\n",
            "import driver\nmodule = driver.cuModuleLoadData(image)\n",
            "import driver\nload = getattr(driver, 'cuModuleLoadDataEx')\n",
            "from cuda.core import Program\nProgram(source, 'c++')\n",
            "import os\nos.system('nvcc -cubin k.cu')\n",
            "import ctypes\nctypes.CDLL('libcudart.so').cudaLibraryLoadFromFile(p, path, 0)\n",
            "import helion\n@helion.kernel()\ndef k(x): pass\n",
            "from torch.utils.cpp_extension import load\nload(name='x')\n",
        ] {
            assert!(!text_signs(text.as_bytes()).is_empty(), "{text}");
        }
        for text in [
            "import numpy as np\n# nvcc and ptxas are compilers; triton is another\nprint('nvcc')\n",
            "import subprocess\nsubprocess.run(['gcc'])  # not with nvcc\n",
            "triton is a compiler: @triton.jit marks a kernel\n",
            "import torch\n@torch.compiler.disable\ndef f(): pass\n",
            "import torch\n# f = torch.compile(g)\n\"\"\"Fake for torch.compile() alone, or @torch.compile.\"\"\"\n",
            "import torch\n# A load is cuModuleLoadData(image).\nx = 'where `cuModuleLoad` fails'\n",
            "from cuda.core import Device\n",
            "from numba.cuda.core import Program\n",
            "import os\n# cudaLibraryLoadData loads; 'nvcc compiles'\n",
        ] {
            assert!(text_signs(text.as_bytes()).is_empty(), "{text}");
        }
    }
}
