# A definition's own reference, as it stands and in double precision. It is the organiser's code.


class DefinitionReference:
    """Calls a definition's `run` on the judge's inputs and writes the judge's outputs.

    The last argument says what is asked for: DOUBLE, PLAIN, or from zero up a seed, with which the definition's
    own function makes the inputs.
    """

    DOUBLE = -1
    PLAIN = -2

    @staticmethod
    def prepare(torch):
        """Has torch compute the same each time. It imports its compiler for that, which makes folders."""
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def __init__(self, torch, document):
        self.torch = torch
        self.document = document
        self.input_count = len(document["inputs"])
        import linecache

        source, name = document["reference"], "<reference of " + document["name"] + ">"
        # So that a trace shows the line.
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        self.names = {"__name__": "definition_reference"}
        exec(compile(source, name, "exec"), self.names)
        self.run = self.names["run"]
        self.double = double_precision(torch)

    def __call__(self, *arguments):
        *tensors, asked = arguments
        inputs, outputs = tensors[: self.input_count], tensors[self.input_count :]
        if asked >= 0:
            return self.make_inputs(inputs, asked)
        with self.torch.no_grad():
            if asked == self.PLAIN:
                results = self.run(*inputs)
            else:
                default = self.torch.get_default_dtype()
                self.torch.set_default_dtype(self.torch.float64)
                try:
                    with self.double.Mode():
                        results = self.run(*[self.double.lift(value) for value in inputs])
                finally:
                    self.torch.set_default_dtype(default)
            store(self.torch, results, outputs)

    def make_inputs(self, inputs, seed):
        """Lets the definition's own function make the inputs that the workload leaves to it."""
        torch, document = self.torch, self.document
        known, device = {}, "cpu"
        for (_, spec), value in zip(document["inputs"], inputs):
            if spec is not None and isinstance(value, torch.Tensor):
                known.update(zip(spec, value.shape))
                device = value.device
        known.update(document["axes"])
        for (name, spec), value in zip(document["inputs"], inputs):
            if spec is None:
                known[name] = value
        torch.manual_seed(seed)
        made = self.names[document["custom_inputs"]](known, device)
        if not isinstance(made, dict):
            raise TypeError(f"{document['custom_inputs']} returned {type(made).__name__}: expected a dict")
        for (name, spec), value in zip(document["inputs"], inputs):
            if name in made and isinstance(value, torch.Tensor):
                fresh = made[name]
                if tuple(fresh.shape) != tuple(value.shape):
                    raise ValueError(f"input `{name}` has shape {tuple(fresh.shape)}: expected {tuple(value.shape)}")
                value.copy_(fresh)


def store(torch, results, outputs):
    """Writes what an entry point returned into the judge's outputs, in order."""
    if isinstance(results, torch.Tensor) or not isinstance(results, (tuple, list)):
        results = (results,)
    if len(results) != len(outputs):
        raise ValueError(f"it returned {len(results)} outputs: expected {len(outputs)}")
    for place, (result, output) in enumerate(zip(results, outputs)):
        if not isinstance(result, torch.Tensor):
            raise TypeError(f"output {place} is {type(result).__name__}: expected a tensor")
        if tuple(result.shape) != tuple(output.shape):
            raise ValueError(f"output {place} has shape {tuple(result.shape)}: expected {tuple(output.shape)}")
        output.copy_(result)


def double_precision(torch):
    """What lifts a reference to double precision: it is run as it stands, and every narrower float that it asks for
    is a double instead."""
    from torch.overrides import TorchFunctionMode

    narrow = {torch.float32, torch.bfloat16, torch.float16}
    casts = {"float", "half", "bfloat16"}

    def lift(value):
        return value.double() if isinstance(value, torch.Tensor) and value.dtype in narrow else value

    def widened(value):
        return torch.float64 if isinstance(value, torch.dtype) and value in narrow else value

    class Mode(TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), keywords=None):
            keywords = keywords or {}
            name = getattr(function, "__name__", "")
            if name in casts and len(arguments) == 1 and not keywords:
                return arguments[0].double()
            if name == "view" and len(arguments) == 2 and isinstance(arguments[1], torch.dtype):
                # The same bits under another type: read as they are, then lifted.
                return lift(function(*arguments, **keywords))
            arguments = tuple(widened(value) for value in arguments)
            return function(*arguments, **{key: widened(value) for key, value in keywords.items()})

    class Double:
        pass

    Double.Mode, Double.lift = Mode, staticmethod(lift)
    return Double
