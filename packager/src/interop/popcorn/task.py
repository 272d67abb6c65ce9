

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
        raise ValueError("generate_input gave %d values: expected %d, as %s" % (len(given), len(DATA), DATA))
    made = {}
    for place, value in zip(DATA, given):
        if not isinstance(place, dict):
            made[place] = value
        elif not isinstance(value, dict) or set(value) != set(place):
            found = sorted(map(str, value)) if isinstance(value, dict) else type(value).__name__
            raise ValueError("generate_input gave %s: expected a dictionary of %s" % (found, sorted(place)))
        else:
            made.update((name, value[key]) for key, name in place.items())
    return {name: value for name, value in made.items() if name not in OUTPUTS}


def run(*inputs):
    """The problem's own answer to the same data."""
    return reference.ref_kernel(data_of(inputs))


def check(inputs, outputs):
    """What the problem's own checker says of an answer, on data of its own."""
    return reference.check_implementation(data_of(inputs), outputs[0] if len(outputs) == 1 else tuple(outputs))


def data_of(inputs):
    """The problem's data again, as it gave it."""
    rest = iter(inputs)

    def value(name):
        return buffer(name, inputs) if name in OUTPUTS else next(rest)

    data = [{key: value(name) for key, name in place.items()} if isinstance(place, dict) else value(place)
            for place in DATA]
    return data[0] if len(data) == 1 else tuple(data)


def buffer(name, inputs):
    """An output's place in the data, as the problem makes it."""
    import torch

    dtype, shape = BUFFERS[name]
    shape = [size if isinstance(size, int) else size_of(size, inputs) for size in shape]
    device = next(value.device for value in inputs if hasattr(value, "device"))
    return torch.empty(shape, dtype=getattr(torch, dtype), device=device)


def size_of(argument, inputs):
    """The value of an argument that a dimension of some input names."""
    for shape, value in zip(SHAPES, inputs):
        for name, size in zip(shape, value.shape if shape else ()):
            if name == argument:
                return size
    raise ValueError("no input has the dimension " + argument)
