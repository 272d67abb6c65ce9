"""Stands in the place of the functions that compile CUDA sources while a Python entry runs.

`tvm_ffi.cpp` has build, load, build_inline and load_inline; `torch.utils.cpp_extension` has load and load_inline; and
an entry may start nvcc as a program of its own. What each is asked for becomes a request: sources, flags and names,
free of this machine's paths, with a digest. Capturing notes the requests; answering gives the library that was built
for one, and never compiles.
"""
import ctypes
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

COMPILED = (".cu", ".cpp", ".cc", ".cxx", ".c")
SOURCES = COMPILED + (".cuh", ".h", ".hpp", ".hxx", ".inl", ".ipp", ".tpp")
MOST_BYTES = 64 << 20  # what a submission may have twice over

TVM_FFI_HEADERS = "".join(
    "#include <tvm/ffi/%s.h>\n" % name for name in ("container/tensor", "dtype", "error", "extra/c_env_api", "function"))
TORCH_CUDA_HEADERS = "#include <torch/types.h>\n#include <cuda.h>\n#include <cuda_runtime.h>\n"


def texts(value):
    """A list of texts, however the functions take one."""
    if value is None:
        return []
    return [str(value)] if isinstance(value, (str, os.PathLike)) else [str(one) for one in value]


def named(functions):
    """The functions to export, each with what is said of it."""
    if functions is None:
        return {}
    if isinstance(functions, str):
        return {functions: ""}
    return dict(functions) if hasattr(functions, "keys") else {name: "" for name in functions}


class Request:
    """One library to build."""

    def __init__(self, interface, name, root, files=(), inline=(), host_flags=(), cuda_flags=(), link_flags=(), include=()):
        self.interface, self.name = interface, str(name)
        self.units, self.files = [], {}
        self.include, self.outside = [], []
        for path in files:
            self.add_file(os.path.realpath(path), root)
        for path, text in inline:
            self.units.append(path)
            self.files[path] = text
        for path in include:
            inside = below(os.path.realpath(path), root)
            (self.outside if inside is None else self.include).append(path if inside is None else inside)
        self.host_flags, self.cuda_flags, self.link_flags = texts(host_flags), texts(cuda_flags), texts(link_flags)
        architectures = ("TVM_FFI_CUDA_ARCH_LIST", "TORCH_CUDA_ARCH_LIST")
        self.architectures = [os.environ[name] for name in architectures if os.environ.get(name)]

    def add_file(self, path, root):
        inside = below(path, root)
        place = "generated/" + os.path.basename(path) if inside is None else inside
        with open(path, encoding="utf-8") as file:
            self.files[place] = file.read()
        self.units.append(place)

    def digest(self):
        """Names the request wherever it is made: by contents, names and flags without paths."""
        def plain(flags):
            words = [word for flag in flags for word in flag.split()]
            return [word for word in words if not word.startswith(("-I", "-L", "-Wl,", "-isystem", "/"))]
        contents = [hashlib.sha256(self.files[unit].encode()).hexdigest() for unit in self.units]
        parts = [self.interface, self.name, contents]
        parts += [plain(flags) for flags in (self.host_flags, self.cuda_flags, self.link_flags)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def below(path, root):
    """The path inside of the root, with `/`; None for one outside."""
    inside = os.path.relpath(path, root)
    return None if inside == ".." or inside.startswith("../") else inside.replace(os.sep, "/")


def sources_below(root):
    """Every source below a folder: any may be included."""
    found, size = {}, 0
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if name.lower().endswith(SOURCES) and os.path.isfile(path):
                size += os.path.getsize(path)
                if size > MOST_BYTES:
                    return found
                try:
                    with open(path, encoding="utf-8") as file:
                        found[below(path, root)] = file.read()
                except UnicodeDecodeError:
                    pass
    return found


def replacements(root, serve, load_module):
    """The functions by module and name. `serve` takes a request and gives a library's path."""

    def build(name, *, sources=None, cpp_files=None, cuda_files=None, extra_cflags=None, extra_cuda_cflags=None,
              extra_ldflags=None, extra_include_paths=None, build_directory=None, **_):
        files = texts(sources) + texts(cpp_files) + texts(cuda_files)
        return serve(Request("tvm-ffi", name, root, files, (), texts(extra_cflags), texts(extra_cuda_cflags),
                             texts(extra_ldflags), texts(extra_include_paths)))

    def build_inline(name, *, cpp_sources=None, cuda_sources=None, functions=None, extra_cflags=None,
                     extra_cuda_cflags=None, extra_ldflags=None, extra_include_paths=None, **_):
        exports = "".join("TVM_FFI_DLL_EXPORT_TYPED_FUNC(%s, %s);\n" % (one, one) for one in named(functions))
        host, device = "\n".join(texts(cpp_sources)), "\n".join(texts(cuda_sources))
        inline = []
        if host:
            inline.append(("inline/main.cpp", TVM_FFI_HEADERS + host + "\n" + exports))
        if device:
            inline.append(("inline/cuda.cu", TVM_FFI_HEADERS + device + "\n" + ("" if host else exports)))
        return serve(Request("tvm-ffi", name, root, (), inline, texts(extra_cflags), texts(extra_cuda_cflags),
                             texts(extra_ldflags), texts(extra_include_paths)))

    def torch_interface(is_python_module):
        return "torch" if is_python_module else "torch-library"

    def torch_load(name, sources, extra_cflags=None, extra_cuda_cflags=None, extra_sycl_cflags=None,
                   extra_ldflags=None, extra_include_paths=None, build_directory=None, verbose=False, with_cuda=None,
                   with_sycl=None, is_python_module=True, **_):
        interface = torch_interface(is_python_module)
        path = serve(Request(interface, name, root, texts(sources), (), texts(extra_cflags), texts(extra_cuda_cflags),
                             texts(extra_ldflags), texts(extra_include_paths)))
        return load_module(interface, name, path)

    def torch_load_inline(name, cpp_sources, cuda_sources=None, sycl_sources=None, functions=None, extra_cflags=None,
                          extra_cuda_cflags=None, extra_sycl_cflags=None, extra_ldflags=None, extra_include_paths=None,
                          build_directory=None, verbose=False, with_cuda=None, with_sycl=None, is_python_module=True,
                          with_pytorch_error_handling=True, keep_intermediates=True, use_pch=False,
                          no_implicit_headers=False, **_):
        lead = "" if no_implicit_headers else "#include <torch/extension.h>\n"
        host = lead + "\n".join(texts(cpp_sources)) + "\n"
        if functions is not None:
            wrap = "torch::wrap_pybind_function(%s)" if with_pytorch_error_handling else "%s"
            calls = "".join("m.def(\"%s\", %s);\n" % (one, wrap % one) for one in named(functions))
            host += "PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {\n" + calls + "}\n"
        inline = [("inline/main.cpp", host)]
        if cuda_sources:
            lead = "" if no_implicit_headers else TORCH_CUDA_HEADERS
            inline.append(("inline/cuda.cu", lead + "\n".join(texts(cuda_sources))))
        interface = torch_interface(is_python_module)
        path = serve(Request(interface, name, root, (), inline, texts(extra_cflags), texts(extra_cuda_cflags),
                             texts(extra_ldflags), texts(extra_include_paths)))
        return load_module(interface, name, path)

    def load(name, **options):
        return load_module("tvm-ffi", name, build(name, **options))

    def load_inline(name, **options):
        return load_module("tvm-ffi", name, build_inline(name, **options))

    tvm_ffi = {"build": build, "load": load, "build_inline": build_inline, "load_inline": load_inline}
    return {
        "tvm_ffi.cpp": tvm_ffi,
        "tvm_ffi.cpp.extension": tvm_ffi,
        "torch.utils.cpp_extension": {"load": torch_load, "load_inline": torch_load_inline},
    }


# What stands behind these as a word of its own is a value, not a source.
VALUED = {"-o", "--output-file", "-I", "--include-path", "-isystem", "--system-include", "-L", "--library-path", "-l",
          "--library", "-D", "--define-macro", "-U", "--undefine-macro", "-std", "--std", "-O", "--optimize", "-arch",
          "--gpu-architecture", "-code", "--gpu-code", "-gencode", "--generate-code", "-Xcompiler", "--compiler-options",
          "-Xptxas", "--ptxas-options", "-Xlinker", "--linker-options", "-Xcudafe", "-Xfatbin", "-Xnvlink",
          "-ccbin", "--compiler-bindir", "-maxrregcount", "--maxrregcount", "-t", "--threads", "-x", "--x", "-rdc",
          "--relocatable-device-code", "-include", "--pre-include", "-cudart", "--cudart", "-diag-suppress",
          "--diag-suppress", "-odir", "--output-directory", "-MF", "-m", "--machine", "-split-compile"}
VERSION = "nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 13.0, V13.0.88\n"


class NotFollowed(RuntimeError):
    """A command that starts nvcc for something other than one library from its sources."""


def words_of(command):
    """The words of a command that starts nvcc, its own name left out; None for any other command."""
    if isinstance(command, (bytes, str)):
        text = os.fsdecode(command)
        if "nvcc" not in text:
            return None
        try:
            words = shlex.split(text)
        except ValueError:
            return None
    else:
        try:
            words = [os.fsdecode(os.fspath(one)) for one in command]
        except TypeError:
            return None
        if len(words) > 2 and words[1] == "-c" and os.path.basename(words[0]) in ("sh", "bash"):
            return words_of(words[2])
    while words and re.match(r"\w+=", words[0]):
        del words[0]
    if words and os.path.basename(words[0]) == "nvcc":
        return words[1:]
    if any(os.path.basename(one) == "nvcc" for one in words) and isinstance(command, (bytes, str)):
        raise NotFollowed("nvcc is started among other programs: only a command that is nvcc's alone is followed")
    return None


def pairs_of(words):
    """Each option with its value, joined or behind it; None and the word for one that stands alone."""
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word in VALUED and at < len(words):
            yield word, words[at]
            at += 1
        elif word[:2] in ("-I", "-L", "-l") and len(word) > 2 and not word.startswith(("-lineinfo", "-link", "-lib")):
            yield word[:2], word[2:]
        elif word.startswith(("-isystem", "-o=", "--output-file=", "--include-path=")):
            name = "-isystem" if word.startswith("-isystem") else word.split("=")[0]
            yield name, word[len(name):].lstrip("=")
        else:
            yield None, word


def command_request(words, root, folder):
    """What a command asks nvcc for, and the path of what it would write."""
    files, include, link, flags, output, shared = [], [], [], [], None, False
    for option, value in pairs_of(words):
        if option in ("-o", "--output-file"):
            output = os.path.join(folder, value)
        elif option in ("-I", "--include-path", "-isystem", "--system-include"):
            include.append(os.path.join(folder, value))
        elif option in ("-L", "--library-path", "-Xlinker", "--linker-options"):
            link.append("-L" + value if "-L" in option else value)
        elif option in ("-l", "--library"):
            link.append("-l" + value)
        elif option is not None:
            flags.append(option + " " + value)
        elif value in ("-shared", "--shared"):
            shared = True
        elif not value.startswith("-"):
            files.append(os.path.join(folder, value))
        else:
            flags.append(value)
    other = [os.path.basename(path) for path in files if not path.endswith(COMPILED)]
    if not shared or output is None or not files or other:
        why = "it takes %s" % ", ".join(other) if other else "it makes no shared library (-shared and -o)"
        raise NotFollowed("nvcc is started as a program, and %s: only one command from sources to a shared library is "
                          "followed" % why)
    # Named by its source: outputs often have random names, and it must be the same wherever it is asked for.
    name = re.sub(r"\W", "_", os.path.splitext(os.path.basename(files[0]))[0], flags=re.ASCII)
    return Request("library", name, root, files, (), (), flags, link, include), output


def follow_commands(answer):
    """Has every start of nvcc in this process answered: `answer` takes a command and its folder, and gives what it
    prints, or None for what is to be started."""
    real_which, real_system = shutil.which, os.system

    class Popen(subprocess.Popen):
        """A program; nvcc ends at once, with its library in place."""

        def __init__(self, args, *rest, **named):
            said = answer(args, named.get("cwd"))
            self.answered = said is not None
            if not self.answered:
                super().__init__(args, *rest, **named)
                return
            is_text = any(named.get(one) for one in ("text", "universal_newlines", "encoding", "errors"))
            pipe = lambda name, text: (text if is_text else text.encode()) if named.get(name) == subprocess.PIPE else None
            self.args, self.pid, self.returncode = args, 0, 0
            self.stdin = self.stdout = self.stderr = None
            self.said = (pipe("stdout", said), pipe("stderr", ""))

        def communicate(self, *given, **named):
            return self.said if self.answered else super().communicate(*given, **named)

        def wait(self, *given, **named):
            return 0 if self.answered else super().wait(*given, **named)

        def poll(self):
            return 0 if self.answered else super().poll()

        def __exit__(self, *error):
            return None if self.answered else super().__exit__(*error)

    def which(name, *given, **named):
        return real_which(name, *given, **named) or ("/usr/local/cuda/bin/nvcc" if name == "nvcc" else None)

    subprocess.Popen, shutil.which = Popen, which
    os.system = lambda command: real_system(command) if answer(command, None) is None else 0


def answer_command(command, folder, root, serve, written):
    """What nvcc prints, with its library in place; None for any other command. `serve` takes a request and gives a
    library's path, `written` is told where the command would have left it."""
    words = words_of(command)
    if words is None:
        return None
    if any(one in ("--version", "-V", "-version") for one in words):
        return VERSION
    request, output = command_request(words, root, os.path.realpath(os.fspath(folder) if folder else os.getcwd()))
    written(output, serve(request))
    return ""


def place_library(output, library):
    """Copies a library to where nvcc would have left it, as far as that may be written."""
    try:
        shutil.copyfile(library, output)
    except OSError:
        pass


class Patcher(importlib.abc.MetaPathFinder):
    """Puts replacements into modules as they are imported."""

    def __init__(self, table):
        self.table, self.busy = table, set()

    def find_spec(self, name, path=None, target=None):
        if name not in self.table or name in self.busy:
            return None
        self.busy.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.busy.discard(name)
        if spec is None or spec.loader is None:
            return None
        execute, functions = spec.loader.exec_module, self.table[name]

        def exec_module(module):
            execute(module)
            vars(module).update(functions)

        spec.loader.exec_module = exec_module
        return spec


def answer(folder, root):
    """Answers every request of the entry below `root` with a library of the folder."""
    with open(os.path.join(folder, "answers.json"), encoding="utf-8") as file:
        answers = {one["request"]: one for one in json.load(file)["answers"]}

    def serve(request):
        found = answers.get(request.digest())
        if found is None:
            asked = ", ".join(request.units) or "nothing"
            raise RuntimeError("no library was built for `%s` of %s: what a build finds is not what is asked for now"
                               % (request.name, asked))
        return os.path.join(folder, found["library"])

    def load_module(interface, name, path):
        if interface == "tvm-ffi":
            import tvm_ffi
            return tvm_ffi.load_module(path)
        import torch
        if interface == "torch-library":
            torch.ops.load_library(path)
            return path
        loader = importlib.machinery.ExtensionFileLoader(name, path)
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
        loader.exec_module(module)
        return module

    root = os.path.realpath(root)
    table = replacements(root, serve, load_module)
    for name, functions in table.items():
        if name in sys.modules:
            vars(sys.modules[name]).update(functions)
    sys.meta_path.insert(0, Patcher(table))
    if any(one["interface"] == "library" for one in answers.values()):
        answer_commands(root, serve)


def answer_commands(root, serve):
    """Answers nvcc as a program. What it would write stands in another folder, where nothing else may be written: who
    loads the one is given the other."""
    placed = {}

    def written(output, library):
        placed[os.path.realpath(output)] = library
        place_library(output, library)

    def answer_one(command, folder):
        try:
            return answer_command(command, folder, root, serve, written)
        except NotFollowed:
            return None  # it is started, where programs may be

    def at(path):
        is_path = isinstance(path, (str, os.PathLike))
        return placed.get(os.path.realpath(path), path) if is_path else path

    follow_commands(answer_one)

    class CDLL(ctypes.CDLL):
        def __init__(self, name, *given, **named):
            super().__init__(at(name), *given, **named)

    ctypes.CDLL, ctypes.cdll = CDLL, ctypes.LibraryLoader(CDLL)
    for name, loader in (("tvm_ffi", "load_module"), ("torch", "ops.load_library")):
        module = sys.modules.get(name)
        *path, last = loader.split(".")
        for one in path:
            module = getattr(module, one, None)
        if module is not None:
            load = getattr(module, last)
            setattr(module, last, lambda path, *given, load=load, **named: load(at(path), *given, **named))
