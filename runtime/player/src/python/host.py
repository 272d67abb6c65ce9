# The script of a Python player: imports, tensors, calling conventions, words of errors. What it is told stands in
# its arguments; everything else comes from the player's loop, which calls the methods of `Host`.
import ctypes
import functools
import importlib
import json
import os
import random
import sys
import traceback


class Host:
    def __init__(self, told):
        self.told = told
        self.torch = None

    def prepare(self):
        """Imports what is there, while programs can still be started."""
        import tempfile

        for variable in self.told["folders"]:
            os.makedirs(os.environ[variable], exist_ok=True)
        # It tries to write, and remembers where that went well.
        tempfile.gettempdir()
        paths = self.told["paths"]
        sys.path[:] = paths + [path for path in sys.path if path not in paths]
        for name in self.told["modules"]:
            try:
                importlib.import_module(name)
            except ImportError:
                continue
        self.torch = sys.modules.get("torch")
        if "triton" in sys.modules:
            ask_what_triton_remembers()
        if self.torch is not None and self.told["sources"] is None:
            DefinitionReference.prepare(self.torch)

    def open(self, stream):
        """Puts torch on the player's stream, and starts what of the libraries needs a GPU."""
        folder = folder_of_driver()
        if folder:
            os.environ.setdefault("TRITON_LIBCUDA_PATH", folder)
        torch = self.torch
        if torch is not None:
            torch.cuda.init()
            torch.cuda.set_device(0)
            torch.cuda.set_stream(torch.cuda.ExternalStream(stream))
        # Triton compiles a module of its own on first use. A definition's reference needs none, and may start no
        # compiler; a submission's builder leaves it in the cache for the players after it.
        if "triton" in sys.modules and self.told["sources"] is not None:
            from triton.runtime import driver

            driver.active.utils
            driver.active.get_current_target()

    def load(self, text):
        """Loads what the document describes: an entry point, or a definition's own reference."""
        document = json.loads(text)
        if document["kind"] == "definition":
            if self.torch is None:
                raise ImportError("the definition's own reference needs torch, which this Python lacks")
            return DefinitionReference(self.torch, document)
        if document["kind"] == "extension":
            if self.torch is not None:
                share_libraries(self.torch)
            module = extension(document["module"], os.path.join(self.told["sources"], document["file"]))
        else:
            if self.told["answers"]:
                self.answer(document["module"].split(".")[0])
            sys.path.insert(0, self.told["sources"])
            module = importlib.import_module(document["module"])
        if not hasattr(module, document["symbol"]):
            raise AttributeError(f"{document['entry']} has no `{document['symbol']}`")
        entry = getattr(module, document["symbol"])
        if not callable(entry):
            raise TypeError(f"`{document['symbol']}` of {document['entry']} is not callable")
        return Returning(self.torch, entry, document["input_count"]) if document["returns"] else entry

    def answer(self, package):
        """Has the functions that compile give what was built and proven for them."""
        folder = self.told["answers"]
        intercept = {"__name__": "intercept"}
        with open(os.path.join(folder, "intercept.py"), encoding="utf-8") as source:
            exec(compile(source.read(), "intercept.py", "exec"), intercept)
        intercept["answer"](folder, os.path.join(self.told["sources"], package))

    def tensor(self, capsule):
        if self.torch is None:
            raise ImportError("tensors need torch, which this Python lacks")
        return self.torch.from_dlpack(capsule)

    def describe(self, kind, error, trace):
        """An error in one line, and where it was raised."""
        name = getattr(kind, "__name__", "error")
        frames = traceback.extract_tb(trace) if trace is not None else []
        own = [frame for frame in frames if frame.filename != "<string>"]
        places = [f"{os.path.basename(frame.filename)}:{frame.lineno} in {frame.name}" for frame in own[-5:]]
        return f"{name}: {error}" + (f" ({', '.join(places)})" if places else "")


class Returning:
    """Calls an entry point that returns its outputs, and copies them into the judge's."""

    def __init__(self, torch, entry, input_count):
        self.torch, self.entry, self.input_count = torch, entry, input_count

    def __call__(self, *arguments):
        results = self.entry(*arguments[: self.input_count])
        store(self.torch, results, arguments[self.input_count :], types="as defined")


def share_libraries(torch):
    """A module that was built against torch's headers alone names none of its libraries, which torch loads for
    itself: what they define is made known to everybody."""
    folder = os.path.join(os.path.dirname(torch.__file__), "lib")
    for name in ("c10", "torch_cpu", "torch", "c10_cuda", "torch_cuda", "torch_python"):
        path = os.path.join(folder, f"lib{name}.so")
        if os.path.exists(path):
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


def extension(name, path):
    """A module of compiled code."""
    import importlib.machinery
    import importlib.util

    loader = importlib.machinery.ExtensionFileLoader(name, path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


def ask_what_triton_remembers():
    """Triton starts programs before it looks into its cache, to learn what machine and assembler there are, and
    remembers the answers. Every player asks while it can, so that all of them look under the same names."""
    try:
        from triton.backends.nvidia import compiler
        from triton.runtime import build
    except ImportError:
        return
    questions = [getattr(build, "platform_key", None)]
    questions += [functools.partial(compiler.get_ptxas_version, arch) for arch in (90, 100)]
    for question in questions:
        try:
            question()
        except Exception:
            continue


def folder_of_driver():
    with open("/proc/self/maps") as maps:
        for line in maps:
            path = line[line.find("/") :].strip() if "/" in line else ""
            if os.path.basename(path).startswith("libcuda.so"):
                return os.path.dirname(path)
    return None


def serve():
    player, told, show_refusals = sys.argv[1], json.loads(sys.argv[2]), len(sys.argv) > 3
    function = ctypes.PyDLL(player).proofmark_player_serve
    return function(ctypes.py_object(Host(told)), ctypes.c_int(show_refusals))


sys.exit(serve())
