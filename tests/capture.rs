//! Python entries that compile CUDA while they run.

use std::process::Command;

use crate::support::{Outcome, Sandbox, run};

/// A whole module without a header of TVM-FFI: compiled in a second.
const MODULE: &str = "__global__ void first(int* p) { *p = VALUE; }\n\
    void start(int* p) { first<<<1, 1>>>(p); }\n\
    extern \"C\" int __tvm_ffi_run(void*, const void*, int, void*) { start(nullptr); return 0; }\n";

/// At import it compiles one library, and another when it is first called.
const ENTRY: &str = r#"
import functools
from pathlib import Path
import torch
import tvm_ffi
HERE = Path(__file__).parent
EAGER = tvm_ffi.load_module(tvm_ffi.cpp.build(
    name="eager", cuda_files=[str(HERE / "kernel.cu")], extra_cuda_cflags=["-DVALUE=1", "-arch=sm_90"]))

@functools.lru_cache
def _lazy():
    return tvm_ffi.cpp.load(name="lazy", cuda_files=str(HERE / "kernel.cu"), extra_cuda_cflags=["-DVALUE=2"])

def run(x: torch.Tensor, y):
    return (_lazy() if x.shape[0] > 3 else EAGER).run(x, y)
"#;

fn submission(sandbox: &Sandbox, entry: &str) {
    let config =
        crate::support::CONFIG.replace("\"cuda\"", "\"python\"").replace("kernel.cu::run", "entry.py::run");
    sandbox.submission("entry", &[("kernel.cu", MODULE), ("entry.py", entry)]);
    sandbox.write("entry/config.toml", config);
}

fn build(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    run(sandbox.builder().args(["build", "entry", "--json"]).args(arguments))
}

#[test]
fn what_an_entry_compiles_at_once_and_later_is_built_and_proven_before_anything_loads_it() {
    let sandbox = Sandbox::sharing_builds();
    submission(&sandbox, ENTRY);
    let document = build(&sandbox, &["-o", "answers"]).expect(0).json();
    assert_eq!(document["verdict"], "proven");
    let libraries = document["libraries"].as_array().unwrap();
    let names: Vec<_> =
        libraries.iter().map(|one| (one["name"].as_str().unwrap(), one["place"].as_str().unwrap())).collect();
    assert_eq!(names, [("eager", "entry.py:7"), ("lazy", "entry.py:12")]);
    let left_out = libraries[0]["left_out"][0].as_str().unwrap();
    assert!(left_out.contains("-arch=sm_90") && left_out.contains("architecture"), "{left_out}");
    assert!(document["stand_ins"].as_array().unwrap().iter().any(|one| one == "torch"));

    // Another process of another place asks again, and is given what was proven.
    let ask = "import sys, json; sys.path.insert(0, sys.argv[1]); import intercept\n\
        answers = {one['request'] for one in json.load(open(sys.argv[3] + '/answers.json'))['answers']}\n\
        root, seen = sys.argv[2], []\n\
        table = intercept.replacements(root, lambda request: seen.append(request.digest()), None)\n\
        build = table['tvm_ffi.cpp']['build']\n\
        build('eager', cuda_files=[root + '/kernel.cu'], extra_cuda_cflags=['-DVALUE=1', '-arch=sm_90'])\n\
        build('lazy', cuda_files=[root + '/kernel.cu'], extra_cuda_cflags=['-DVALUE=2'])\n\
        build('lazy', cuda_files=[root + '/kernel.cu'], extra_cuda_cflags=['-DVALUE=3'])\n\
        print([digest in answers for digest in seen])";
    sandbox.write("elsewhere/kernel.cu", MODULE);
    sandbox.write("code/intercept.py", proofmark::capture::INTERCEPT);
    let mut python = Command::new("python3");
    python.args(["-c", ask]).args(["code", "elsewhere", "answers"].map(|name| sandbox.path(name)));
    let answered = run(&mut python).expect(0).stdout;
    assert_eq!(answered.trim(), "[True, True, False]");
}

/// It compiles by nvcc as a program, when it is first called.
const STARTS_NVCC: &str = r#"
import os, subprocess
from pathlib import Path
import torch
import tvm_ffi
HERE = Path(__file__).resolve().parent

def _compile(source, library):
    root = Path(tvm_ffi.__file__).resolve().parent
    assert (root / "include").exists() and (root / "lib").exists()
    command = [os.environ.get("NVCC", "nvcc"), "-shared", "-Xcompiler", "-fPIC", "-gencode", "arch=compute_90,code=sm_90",
               "-I", str(root / "include"), "-L", str(root / "lib"), "-ltvm_ffi", "-DVALUE=5", "-o", str(library), source]
    subprocess.run(command, check=True, cwd=HERE)

def _ensure():
    library = HERE / "libkernel.so"
    if not library.exists():
        _compile("kernel.cu", library)
    assert library.stat().st_size >= 0
    tvm_ffi.load_module(str(library))

def run(x, y):
    _ensure()
"#;

#[test]
fn an_entry_that_starts_nvcc_is_given_the_proven_build_of_the_same_command() {
    let sandbox = Sandbox::sharing_builds();
    submission(&sandbox, STARTS_NVCC);
    let document = build(&sandbox, &["-o", "answers"]).expect(0).json();
    let library = &document["libraries"][0];
    assert_eq!((&document["verdict"], &library["interface"]), (&"proven".into(), &"library".into()));
    assert_eq!(
        (&library["units"], &library["place"]),
        (&serde_json::json!(["kernel.cu"]), &"entry.py:13".into())
    );
    let left_out = library["left_out"].to_string();
    assert!(left_out.contains("-gencode arch=compute_90"), "{left_out}");
    assert!(left_out.contains("`-Ltvm_ffi/lib`") && left_out.contains("`tvm_ffi/include`"), "{left_out}");

    // The process that runs it may start nothing and write nowhere: the library that it would have written is loaded.
    let ask = "import sys, ctypes, subprocess; sys.path.insert(0, sys.argv[1]); import intercept\n\
        intercept.answer(sys.argv[3], sys.argv[2])\n\
        def start(value):\n    \
            return subprocess.run(['nvcc', '-shared', '-Xcompiler', '-fPIC', '-I', '/x', '-gencode',\n        \
                'arch=compute_90,code=sm_90', '-ltvm_ffi', value, '-o', '/nonexistent/k.so', 'kernel.cu'],\n        \
                cwd=sys.argv[2], check=True).returncode\n\
        print(start('-DVALUE=5'), bool(ctypes.CDLL('/nonexistent/k.so').__tvm_ffi_run))\n\
        print(subprocess.check_output(['echo', 'others start'], text=True).strip())\n\
        try:\n    start('-DVALUE=6')\n\
        except RuntimeError as error:\n    print(error)";
    sandbox.write("elsewhere/kernel.cu", MODULE);
    sandbox.write("code/intercept.py", proofmark::capture::INTERCEPT);
    let mut python = Command::new("python3");
    python.args(["-c", ask]).args(["code", "elsewhere", "answers"].map(|name| sandbox.path(name)));
    let answered = run(&mut python).expect(0).stdout;
    let lines: Vec<_> = answered.lines().collect();
    assert_eq!(lines[..2], ["0 True", "others start"]);
    assert!(lines[2].contains("no library was built for `kernel` of kernel.cu"), "{answered}");
}

#[test]
fn a_start_of_nvcc_that_is_not_followed_is_named_with_the_reason() {
    let sandbox = Sandbox::sharing_builds();
    let cases = [
        ("'-cubin', '-o', 'k.cubin', 'kernel.cu'", "it makes no shared library"),
        ("'-shared', '-o', 'k.so', 'one.o', 'kernel.cu'", "it takes one.o"),
    ];
    for (words, reason) in cases {
        let starts = format!(
            "import subprocess\ndef build():\n    subprocess.check_call(['nvcc', {words}])\ndef run(x):\n    build()\n"
        );
        submission(&sandbox, &starts);
        let document = build(&sandbox, &[]).expect(3).json();
        assert_eq!(document["unreached"][0]["place"], "entry.py:3", "{document:#}");
        let said = document["unreached"][0]["reason"].as_str().unwrap();
        assert!(said.contains(reason) && said.contains("only one command"), "{said}");
    }
    // A start of nvcc whose words only a GPU's run would tell is not passed over.
    let hidden = "import subprocess\nNVCC = 'nvcc'\ndef build(words):\n    subprocess.run([NVCC] + words)\n\
                  def run(x):\n    if len(x) > 3:\n        build(['-shared'])\n";
    submission(&sandbox, hidden);
    let unknown = build(&sandbox, &[]).expect(3).json();
    assert_eq!(
        (&unknown["verdict"], &unknown["unreached"][0]["place"]),
        (&"unknown".into(), &"entry.py:4".into())
    );
    // Other programs are nobody's to follow.
    submission(&sandbox, "import subprocess\n# nvcc\ndef run(x):\n    subprocess.run(['nvidia-smi'])\n");
    let other = run(sandbox.builder().args(["build", "entry"])).expect(2);
    assert!(other.stderr.contains("nothing"), "{}", other.stderr);
}

#[test]
fn what_only_other_systems_have_is_missing_for_an_entry_too() {
    let sandbox = Sandbox::sharing_builds();
    let asks = "import subprocess\ntry:\n    import msvcrt\nexcept ImportError:\n    msvcrt = None\nassert not msvcrt\n";
    submission(&sandbox, &format!("{asks}{ENTRY}"));
    let document = build(&sandbox, &[]).expect(0).json();
    let stand_ins = document["stand_ins"].as_array().unwrap();
    assert_eq!(document["libraries"].as_array().unwrap().len(), 2);
    assert!(!stand_ins.iter().any(|one| one == "msvcrt"), "{stand_ins:?}");
}

#[test]
fn an_entry_that_asks_for_what_does_not_compile_or_cannot_be_found_out_is_told_so() {
    let sandbox = Sandbox::sharing_builds();
    submission(&sandbox, &ENTRY.replace("-DVALUE=2", "-DVALUE=nonsense("));
    let refused = run(sandbox.builder().args(["build", "entry"]));
    assert_eq!(refused.code, 1, "{refused:#?}");
    assert!(refused.stdout.contains("not proven   lazy as tvm-ffi"), "{}", refused.stdout);
    let hidden = "import tvm_ffi\ndef run(x):\n    if len(x) > 3:\n        flags = [str(x)]\n        \
                  tvm_ffi.cpp.build(name='hidden', cuda_files=['kernel.cu'], extra_cuda_cflags=flags)\n";
    submission(&sandbox, hidden);
    let unknown = build(&sandbox, &[]).expect(3).json();
    assert_eq!(
        (&unknown["verdict"], &unknown["unreached"][0]["place"]),
        (&"unknown".into(), &"entry.py:5".into())
    );
    submission(&sandbox, "import tvm_ffi\nraise ValueError('no \\x1b[2J GPU')\n");
    let failed = run(sandbox.builder().args(["build", "entry"])).expect(3);
    assert!(failed.stdout.contains("ended early: ValueError: no \\u{1b}[2J GPU"), "{}", failed.stdout);
}

#[test]
fn an_entry_reaches_nothing_while_it_is_imported() {
    let sandbox = Sandbox::sharing_builds();
    let secret = sandbox.write("secret.txt", "secret");
    let spy = format!(
        "import tvm_ffi, os, socket\nfound = []\n\
         for path in ({secret:?}, '/etc/passwd', '/etc/hostname'):\n    found += [path] if os.path.exists(path) else []\n\
         try:\n    socket.create_connection(('1.1.1.1', 80), 1)\n    found.append('network')\nexcept OSError:\n    pass\n\
         raise ValueError('found ' + repr(found))\n"
    );
    submission(&sandbox, &spy);
    let spied = run(sandbox.builder().args(["build", "entry"])).expect(3);
    assert!(spied.stdout.contains("ValueError: found []"), "{}", spied.stdout);
}

#[test]
fn modules_in_the_folder_where_somebody_builds_are_none_of_the_interpreter_s() {
    let sandbox = Sandbox::sharing_builds();
    let ran = sandbox.path("ran");
    let module = format!("open({ran:?}, 'a').write(__name__ + '\\n')\n");
    for name in ["json.py", "os.py", "importlib.py", "sitecustomize.py"] {
        sandbox.write(name, module.clone());
    }
    submission(&sandbox, "import tvm_ffi, sys\nraise ValueError('looks in ' + repr(sys.path))\n");
    for path in [":", "", "."] {
        let asked = run(sandbox.builder().args(["build", "entry"]).env("PYTHONPATH", path)).expect(3);
        assert!(asked.stdout.contains("ValueError: looks in ["), "{}", asked.stdout);
        let here = sandbox.path("").display().to_string();
        assert!(!asked.stdout.contains(here.trim_end_matches('/')), "{}", asked.stdout);
        assert!(!ran.exists(), "{}", std::fs::read_to_string(&ran).unwrap_or_default());
    }
}
