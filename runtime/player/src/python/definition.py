# A definition's own reference, as it stands and in double precision. It is the organiser's code.


class DefinitionReference:
    """Calls a definition's `run` on the judge's inputs and writes the judge's outputs.

    The last argument says what is asked for: DOUBLE, PLAIN, or from zero up a seed, with which the definition's
    own function makes the inputs. The values of the variable axes stand before such a seed. CHECK asks the
    definition's own function whether the outputs are right; before it stands a tensor of bytes for the answer.
    """

    DOUBLE = -1
    PLAIN = -2
    CHECK = -3

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
            axes = self.document["variable_axes"]
            return self.make_inputs(inputs, dict(zip(axes, tensors[len(tensors) - len(axes) :])), asked)
        with self.torch.no_grad():
            if asked == self.CHECK:
                return self.check(inputs, outputs[:-1], outputs[-1])
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

    def check(self, inputs, outputs, answer):
        """Writes whether outputs are right into the first byte, and why not into the others."""
        try:
            said = self.names[self.document["check"]](inputs, outputs)
            right, reason = said if isinstance(said, tuple) else (not said, said)
        except Exception as error:
            # What a wrong answer makes of it is the answer's fault: a right one has been checked before.
            right, reason = False, f"{type(error).__name__}: {error}"
        text = bytes([bool(right)]) + str(reason or "").encode("utf-8", "replace")
        text = text[: answer.numel()].ljust(answer.numel(), b"\0")
        answer.copy_(self.torch.frombuffer(bytearray(text), dtype=self.torch.uint8))

    def make_inputs(self, inputs, axes, seed):
        """Lets the definition's own function make the inputs that the workload leaves to it."""
        torch, document = self.torch, self.document
        function = document["custom_inputs"]
        known = {**document["axes"], **axes}
        device = torch.device("cpu")
        for (name, _), value in zip(document["inputs"], inputs):
            if isinstance(value, torch.Tensor):
                device = value.device
            else:
                known[name] = value
        random.seed(seed)
        torch.manual_seed(seed)
        with torch.no_grad():
            made = self.names[function](known, device)
            if not isinstance(made, dict):
                raise TypeError(f"{function} returned {type(made).__name__}: expected a dict")
            for (name, spec), value in zip(document["inputs"], inputs):
                if name not in made:
                    raise ValueError(f"{function} made no input `{name}`")
                self.keep(function, name, made[name], value, spec is None)

    def keep(self, function, name, made, value, is_scalar):
        """Writes one input to its place; a scalar that is known already must be the same again."""
        if not isinstance(value, self.torch.Tensor):
            if made != value:
                raise ValueError(f"{function} made `{name}` = {made}: expected {value}, as in other inputs")
        elif is_scalar:
            value.fill_(made)
        elif not isinstance(made, self.torch.Tensor) or tuple(made.shape) != tuple(value.shape):
            found = tuple(made.shape) if isinstance(made, self.torch.Tensor) else type(made).__name__
            raise ValueError(f"{function} made `{name}` as {found}: expected {tuple(value.shape)}")
        else:
            value.copy_(made)


def store(torch, results, outputs, types="any"):
    """Writes what an entry point returned into the judge's outputs, in order."""
    if isinstance(results, torch.Tensor) or not isinstance(results, (tuple, list)):
        results = (results,)
    if len(results) != len(outputs):
        raise ValueError(f"it returned {len(results)} outputs: expected {len(outputs)}")
    for place, (result, output) in enumerate(zip(results, outputs)):
        if not isinstance(result, torch.Tensor):
            raise TypeError(f"output {place} is {type(result).__name__}: expected a tensor")
        if tuple(result.shape) != tuple(output.shape):
            raise IncorrectShape(f"output {place} has shape {tuple(result.shape)}: expected {tuple(output.shape)}")
        if types == "as defined" and result.dtype != output.dtype:
            raise IncorrectDtype(f"output {place} is of {result.dtype}: expected {output.dtype}")
        output.copy_(result)


class IncorrectShape(ValueError):
    """A verdict begins with this name."""


class IncorrectDtype(TypeError):
    """A verdict begins with this name."""


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
