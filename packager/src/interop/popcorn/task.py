

import importlib.abc
import importlib.util
import random
import sys


class ProblemFiles(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The problem's files as modules, from the texts above."""

    def find_spec(self, name, path, target=None):
        return importlib.util.spec_from_loader(name, self) if name in FILES else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(compile(FILES[module.__name__], module.__name__ + ".py", "exec"), module.__dict__)


sys.meta_path.insert(0, ProblemFiles())
import reference


def make_inputs(axes, device):
    """Has the problem make its data for one case, with a seed that the judge drew."""
    arguments = dict(CASES[axes["case"]])
    if "seed" in arguments:
        arguments["seed"] = random.getrandbits(31)
    data = reference.generate_input(**arguments)
    given = list(data) if isinstance(data, (tuple, list)) else [data]
    if len(given) != len(DATA):
        raise ValueError("generate_input gave %d values: expected %s" % (len(given), ", ".join(DATA)))
    return {name: value for name, value in zip(DATA, given) if name not in OUTPUTS}


def run(*inputs):
    """The problem's own answer to the same data."""
    rest = iter(inputs)
    data = [buffer(name, inputs) if name in OUTPUTS else next(rest) for name in DATA]
    return reference.ref_kernel(data[0] if len(data) == 1 else tuple(data))


def check(inputs, outputs):
    """What the problem's own checker says of an answer, on data of its own."""
    rest = iter(inputs)
    data = [buffer(name, inputs) if name in OUTPUTS else next(rest) for name in DATA]
    data = data[0] if len(data) == 1 else tuple(data)
    return reference.check_implementation(data, outputs[0] if len(outputs) == 1 else tuple(outputs))


def buffer(name, inputs):
    """An output's place in the data, as the problem makes it."""
    import torch

    dtype, shape = BUFFERS[name]
    shape = [size if isinstance(size, int) else size_of(size, inputs) for size in shape]
    return torch.empty(shape, dtype=getattr(torch, dtype), device=inputs[0].device)


def size_of(argument, inputs):
    """The value of an argument that a dimension of some input names."""
    for shape, value in zip(SHAPES, inputs):
        for name, size in zip(shape, value.shape):
            if name == argument:
                return size
    raise ValueError("no input has the dimension " + argument)
