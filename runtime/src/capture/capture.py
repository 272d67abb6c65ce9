"""Imports a Python entry as FlashInfer-Bench does and notes every library that it would compile.

Arguments: a document that says what to import, and where to write what was found. What needs a GPU is stood in for:
importing torch, Triton and the like gives modules whose every attribute is a stand-in that can be called, indexed
and calculated with. Code that compiles when it is first called is called; where that does not reach, the arguments
in the source's syntax are evaluated.
"""
import ast
import builtins
import ctypes
import functools
import importlib
import importlib.abc
import importlib.machinery
import inspect
import json
import os
import shutil
import signal
import sys
import types

import intercept

STOOD_IN = {"torch", "triton", "tvm_ffi", "flashinfer", "cutlass", "cuda", "cupy", "tilelang", "tvm", "numba", "jax",
            "nvidia", "deep_gemm", "flash_attn", "fla", "flashinfer_bench", "torchvision", "quack", "cuda_tile"}
STARTING = {"subprocess": {"run", "call", "check_call", "check_output", "Popen"}, "os": {"system"},
            None: {"check_call", "check_output", "Popen"}}
COMPILING = {"build", "load", "build_inline", "load_inline"}
KEYWORDS = {"sources", "cpp_files", "cuda_files", "cpp_sources", "cuda_sources"}
CALL_SECONDS = 20


class StandIn:
    """Anything that only a GPU gives."""

    def __init__(self, path, known):
        self.__dict__.update(_path=path, _known=known)

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__") and name not in ("__version__",):
            raise AttributeError(name)
        path = self._path + "." + name
        return self._known[path] if path in self._known else StandIn(path, self._known)

    def __setattr__(self, name, value):
        self.__dict__[name] = value

    def __call__(self, *arguments, **named):
        # A decorator gives back what it decorates.
        if len(arguments) == 1 and not named and isinstance(arguments[0], (types.FunctionType, type)):
            return arguments[0]
        return StandIn(self._path + "()", self._known)

    def __getitem__(self, index):
        return self

    def __setitem__(self, index, value):
        pass

    def __iter__(self):
        return iter(())

    def __len__(self):
        return 0

    def __bool__(self):
        return True

    def __int__(self):
        return 1

    __index__ = __int__

    def __float__(self):
        return 1.0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def __mro_entries__(self, bases):
        return (object,)

    def __instancecheck__(self, value):
        return True

    def __subclasscheck__(self, value):
        return True

    def __fspath__(self):
        return "/stand-in"

    def __str__(self):
        return self._path

    def __eq__(self, other):
        return self is other

    def __hash__(self):
        return id(self)

    def calculate(self, *_):
        return self

    def compare(self, other):
        return True

    for _name in ("add sub mul truediv floordiv mod pow matmul and or xor lshift rshift radd rsub rmul rtruediv rfloordiv "
                  "rmod rpow rmatmul rand ror rxor neg pos invert abs").split():
        locals()["__%s__" % _name] = calculate
    for _name in "lt le gt ge".split():
        locals()["__%s__" % _name] = compare


class StandInModule(types.ModuleType):
    def __init__(self, name, known, folder, submodules):
        super().__init__(name)
        self.__path__ = [folder]
        self.__file__ = os.path.join(folder, "__init__.py")
        self._known, self._submodules = known, submodules

    def __getattr__(self, name):
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        path = self.__name__ + "." + name
        if path in self._submodules:
            return importlib.import_module(path)
        return self._known[path] if path in self._known else StandIn(path, self._known)


# Python's own, some of which other systems have: its library learns by importing them where it runs.
STANDARD = getattr(sys, "stdlib_module_names", {"msvcrt", "nt", "winreg", "winsound"})


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives stand-ins: for the known ones always, so that every machine finds the same; for others where missing."""

    def __init__(self, roots, known, table, site, own):
        self.roots, self.known, self.table, self.used, self.site, self.own = roots, known, table, set(), site, own
        names = [name.split(".") for name in table]
        self.submodules = {".".join(name[:length]) for name in names for length in range(1, len(name) + 1)}

    def find_spec(self, name, path=None, target=None):
        root = name.split(".")[0]
        if self.roots is not None and root not in self.roots:
            return None
        if self.roots is None and (name.startswith("_") or root in self.own or root in STANDARD):
            return None
        self.used.add(root)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return StandInModule(spec.name, self.known, os.path.join(self.site, *spec.name.split(".")), self.submodules)

    def exec_module(self, module):
        vars(module).update(self.table.get(module.__name__, {}))


class Late(Exception):
    """A call took too long."""


class Capture:
    def __init__(self, job):
        self.root = os.path.realpath(os.path.join(job["folder"], job["package"]))
        self.job, self.requests, self.digests, self.sites = job, [], set(), set()
        self.place = None  # where the call stands whose arguments are evaluated
        self.refusals = {}  # by place, why a start of nvcc is not followed

    def serve(self, request):
        place = self.place or self.site()
        self.sites.add(place)
        digest = request.digest()
        if digest not in self.digests:
            self.digests.add(digest)
            # Folders of the stand-ins have another name in every run.
            plain = lambda words: [word.replace(self.job["site"] + "/", "") for word in words]
            files = dict(intercept.sources_below(self.root), **request.files)
            self.requests.append({
                "request": digest, "interface": request.interface, "name": request.name, "units": request.units,
                "files": files, "host_flags": request.host_flags, "cuda_flags": request.cuda_flags,
                "link_flags": plain(request.link_flags), "include": request.include,
                "outside": plain(request.outside),
                "architectures": request.architectures, "place": place})
        path, built = (os.path.join(self.job[folder], digest + ".so") for folder in ("libraries", "built"))
        if os.path.exists(built):
            shutil.copyfile(built, path)
        else:
            with open(path, "wb"):
                pass
        return path

    def start(self, command, folder):
        """A program: nvcc is answered, anything else runs where it can reach nothing."""
        place = self.place or self.site()
        try:
            said = intercept.answer_command(command, folder, self.root, self.serve, intercept.place_library)
        except intercept.NotFollowed as error:
            self.refusals[place] = str(error)
            raise
        self.sites.add(place)
        return said

    def site(self):
        """Where in the entry's own files the call stands."""
        frame = sys._getframe()
        while frame is not None:
            inside = intercept.below(os.path.realpath(frame.f_code.co_filename), self.root)
            if inside is not None and os.path.exists(frame.f_code.co_filename):
                return "%s:%d" % (inside, frame.f_lineno)
            frame = frame.f_back
        return ""

    def attempt(self, call, *arguments):
        """Runs a piece of the entry; gives its error in one line."""
        def ring(*_):
            raise Late("it did not end in %d s" % CALL_SECONDS)
        signal.signal(signal.SIGALRM, ring)
        signal.alarm(CALL_SECONDS)
        try:
            call(*arguments)
            return None
        except BaseException as error:
            return "%s: %s" % (type(error).__name__, str(error).split("\n")[0][:300])
        finally:
            signal.alarm(0)


def name_of(call):
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def is_start(call):
    """Whether a call starts a program, as `subprocess` and `os` do it."""
    module = getattr(call.func.value, "id", "") if isinstance(call.func, ast.Attribute) else None
    return name_of(call) in STARTING.get(module, ())


def compiling_calls(tree, starts):
    """Each call that may compile, with the innermost function around it. `starts`: those that start a program are."""
    def walk(node, function):
        for child in ast.iter_child_nodes(node):
            inner = child if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
            if isinstance(child, ast.Call):
                name = name_of(child)
                keywords = {one.arg for one in child.keywords}
                if (name in COMPILING or name.startswith(("load_inline", "load_ext"))) and keywords & KEYWORDS:
                    yield child, function
                elif starts and is_start(child) and child.args:
                    yield child, function
            yield from walk(child, inner)
    return list(walk(tree, None))


def callers_of(names, tree):
    """Functions at the top that call one of these."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name not in names:
            called = {getattr(one.func, "id", getattr(one.func, "attr", "")) for one in ast.walk(node)
                      if isinstance(one, ast.Call)}
            if called & names:
                found.add(node.name)
    return found


def needs_nothing(function):
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return all(one.default is not one.empty or one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in parameters)


def stand_ins_for(function, known):
    parameters = inspect.signature(function).parameters.values()
    plain = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return [StandIn(one.name, known) for one in plain if one.default is one.empty]


def evaluate(call, module, table, start):
    """Makes a call with its arguments evaluated in the module, whatever function it stands in."""
    name = name_of(call)
    alias = getattr(module, name, None) if isinstance(call.func, ast.Name) else None
    is_tvm = any(one.arg in ("cuda_files", "cpp_files") for one in call.keywords)
    function = alias or table["tvm_ffi.cpp" if is_tvm else "torch.utils.cpp_extension"].get(name)

    def value(node):
        return eval(compile(ast.Expression(node), module.__file__, "eval"), vars(module))

    if is_start(call):
        folders = [value(one.value) for one in call.keywords if one.arg == "cwd"]
        start(value(call.args[0]), folders[0] if folders else None)
        return
    arguments = [value(one) for one in call.args]
    wanted = KEYWORDS | {"name", "functions", "extra_cflags", "extra_cuda_cflags", "extra_ldflags", "extra_include_paths",
                         "is_python_module"}
    function(*arguments, **{one.arg: value(one.value) for one in call.keywords if one.arg in wanted})


def trees(capture):
    """The syntax of every Python file of the entry that has a call that may compile."""
    for folder, _, names in sorted(os.walk(capture.root)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            inside = intercept.below(path, capture.root)
            if name.endswith(".py"):
                try:
                    with open(path, encoding="utf-8") as file:
                        text = file.read()
                    tree = ast.parse(text)
                except (SyntaxError, UnicodeDecodeError):
                    continue
                calls = [(call, function, "%s:%d" % (inside, call.lineno))
                         for call, function in compiling_calls(tree, "nvcc" in text)]
                if calls:
                    yield inside, tree, calls


def reach(capture, entry, known, table):
    """Calls what compiles only when it is called. Gives the places that nothing reached."""
    open_calls = []
    for inside, tree, calls in list(trees(capture)):
        name = capture.job["package"] + "." + inside[:-3].replace("/", ".")
        error = capture.attempt(importlib.import_module, name) if name not in sys.modules else None
        module = sys.modules.get(name)
        if module is None:
            open_calls += [(call, None, place, error) for call, _, place in calls]
            continue
        names = {function.name for _, function, _ in calls if function is not None}
        chain, level = [], names
        while level and level not in chain and len(chain) < 4:
            chain.append(level)
            level = callers_of(set().union(*chain), tree)
        for name in [one for level in chain for one in sorted(level)]:
            function = getattr(module, name, None)
            if callable(function) and needs_nothing(function):
                capture.attempt(function)
        open_calls += [(call, module, place, None) for call, _, place in calls]
    if any(not reached(capture, call, place) for call, _, place, _ in open_calls):
        try:
            arguments = stand_ins_for(entry, known)
        except (TypeError, ValueError):
            arguments = []
        capture.attempt(entry, *arguments)
    unreached = []
    for call, module, place, error in open_calls:
        if not reached(capture, call, place):
            capture.place = place
            error = error or capture.attempt(evaluate, call, module, table, capture.start)
            error = next((capture.refusals[one] for one in places(call, place) if one in capture.refusals), error)
            capture.place = None
            if error is not None:
                unreached.append({"place": place, "reason": error})
            else:
                capture.sites.add(place)
    return unreached


def reached(capture, call, place):
    return any(one in capture.sites for one in places(call, place))


def places(call, place):
    """Every line of a call, as `site` names it."""
    file = place.rsplit(":", 1)[0]
    return ["%s:%d" % (file, line) for line in range(call.lineno, (call.end_lineno or call.lineno) + 1)]


def main(job_path, out_path):
    with open(job_path, encoding="utf-8") as file:
        job = json.load(file)
    capability = tuple(job["capability"])
    device = types.SimpleNamespace(major=capability[0], minor=capability[1], multi_processor_count=148, name="stand-in",
                                   total_memory=180 << 30)
    known = {
        "torch.__version__": "2.11.0", "torch.version.cuda": "13.0", "torch.version.hip": None,
        "torch.cuda.is_available": lambda: True, "torch.cuda.device_count": lambda: 1,
        "torch.cuda.current_device": lambda: 0, "torch.cuda.get_device_capability": lambda *_: capability,
        "torch.cuda.get_device_properties": lambda *_: device, "torch.cuda.get_device_name": lambda *_: "stand-in",
        "torch.utils.cpp_extension.CUDA_HOME": "/usr/local/cuda", "triton.__version__": "3.6.0",
        "triton.cdiv": lambda a, b: a, "tvm_ffi.__version__": "0.1.15", "flashinfer.__version__": "0.7.2",
    }
    capture = Capture(job)
    modules = lambda interface, name, path: StandIn(name, known)
    table = intercept.replacements(capture.root, capture.serve, modules)
    own = {job["package"]} | {name.split("/")[0].rsplit(".py", 1)[0] for name in job["files"]}
    site = job["site"]
    first, last = (Finder(roots, known, table, site, own) for roots in (STOOD_IN, None))
    sys.meta_path.insert(0, first)
    sys.meta_path.append(last)
    ctypes.CDLL = lambda *_, **__: StandIn("CDLL", known)
    builtins.input = lambda *_: ""
    intercept.follow_commands(capture.start)
    sys.path.insert(0, job["folder"])
    sys.path.append(site)
    found = {"error": None, "unreached": []}

    def bring_in():
        module = importlib.import_module(job["package"] + "." + job["module"])
        found["entry"] = getattr(module, job["symbol"])

    found["error"] = capture.attempt(bring_in)
    if found["error"] is None:
        found["unreached"] = reach(capture, found["entry"], known, table)
    document = {"version": 1, "error": found["error"], "requests": capture.requests, "unreached": found["unreached"],
                "stand_ins": sorted(first.used | last.used), "python": ".".join(map(str, sys.version_info[:3]))}
    with open(out_path, "w", encoding="utf-8") as file:
        json.dump(document, file)
    os._exit(0)  # no thread of the entry keeps us


if __name__ == "__main__":
    main(*sys.argv[1:])
