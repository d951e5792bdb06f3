"""Following a traced module step by step: weight layers and their neurons become layers, the rest edges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import fx, nn

from mapper.errors import Finding
from mapper.frontends.from_torch.leaves import (
    batch_norm_of,
    convolution_of,
    dvs_of,
    linear_of,
    relu_neuron,
    spiking_neuron,
    unknown_module,
)
from mapper.frontends.from_torch.steps import MODULE_STEPS, add, attribute, function_step
from mapper.frontends.from_torch.trace import Trace, known_class
from mapper.frontends.from_torch.values import (
    BATCH,
    Current,
    MisfitError,
    Opaque,
    Part,
    RefusalError,
    Signal,
    Value,
    entries,
    flattened,
    followed,
    guess,
    one_axis,
    values_in,
)
from mapper.frontends.inference import LayerDraft
from mapper.network import Edge, Input, Layer, Output
from mapper.operations import Convolution, Flatten, Linear, Neuron, Shape

__all__ = ["Reader"]

# What wrong arguments and fields of the user's modules raise, here and in torch; anything else is our fault.
_MISUSE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class Reader:
    """One trace while it is followed; collects findings so that all can be told at once.

    Attributes
    ----------
    unsupported, misfits, findings
        What no chip can do or this program does not know; shapes; everything else.
    """

    def __init__(
        self, trace: Trace, shape: Shape, relu_as_if: float | None, leads: tuple[int, ...] = (BATCH,)
    ) -> None:
        self.trace, self.shape, self.relu_as_if, self.leads = trace, shape, relu_as_if, leads
        self.unsupported: list[Finding] = []
        self.misfits: list[Finding] = []
        self.notes: list[str] = []
        self.inputs: dict[str, Input] = {}
        self.drafts: dict[str, LayerDraft] = {}
        self.edges: list[Edge] = []
        self.outputs: list[Output] = []
        self.results: dict[fx.Node, Any] = {}
        self.called: set[str] = set()
        self.fired: set[str] = set()
        self.taken = {name for name, _ in trace.root.named_modules()}

    @property
    def findings(self) -> list[Finding]:
        """Everything that is wrong, in the order it was found within its kind."""
        return list(dict.fromkeys((*self.unsupported, *self.misfits)))

    def run(self) -> None:
        """Follow the graph from its placeholders to its output."""
        for node in self.trace.graph.nodes:
            args = fx.node.map_arg(node.args, self.results.__getitem__)
            kwargs = fx.node.map_arg(node.kwargs, self.results.__getitem__)
            try:
                self.results[node] = self._step(node, args, kwargs)
            except RefusalError as error:
                self._refuse(node, error, (args, kwargs))
                self.results[node] = error.instead or guess((args, kwargs))
            except _MISUSE as error:
                text = " ".join(str(error).split())[:200]
                problem = f"cannot be read: {type(error).__name__}: {text}"
                self._refuse(node, RefusalError(problem, "Check its arguments and attributes"), ())
                self.results[node] = guess((args, kwargs))

    def _refuse(self, node: fx.Node, error: RefusalError, arguments: Any) -> None:
        finding = Finding(
            self._where(node, error.problem),
            error.problem,
            error.value,
            error.limit,
            next_step=error.next_step,
        )
        if not isinstance(error, MisfitError):
            self.unsupported.append(finding)
        elif all(value.sure for value in values_in(arguments) if not isinstance(value, Opaque)):
            # Behind something refused the shapes are guesses, and no reason to complain.
            self.misfits.append(finding)

    def _where(self, node: fx.Node, problem: str) -> str:
        if node.op == "call_module":
            module = self._module_at(str(node.target))
            kind = (known_class(module) or type(module)).__name__
            return f"layer {node.target}" if problem.startswith(kind) else f"layer {node.target} ({kind})"
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        inside = stack[-1][0] if stack and stack[-1][0] else type(self.trace.root).__name__
        return f"{node.name} in {inside}"

    def _module_at(self, path: str) -> nn.Module:
        return self.trace.root.get_submodule(path)

    def _step(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        if node.op == "placeholder":
            return self._placeholder(node)
        if node.op == "get_attr":
            return self._constant(str(node.target))
        if node.op == "call_module":
            return self._module(node, args, kwargs)
        if node.op == "output":
            return self._outputs(args[0])
        return self._function(node, args, kwargs)

    def _placeholder(self, node: fx.Node) -> Any:
        name = str(node.target)
        if node.args:
            return node.args[0]
        if name.startswith("*"):
            return {} if name.startswith("**") else ()
        while name in self.taken:
            name += "_input"
        self.inputs[name] = Input(name, self.shape)
        return Signal((Part(name),), self.shape, tuple(self.shape), self.leads)

    def _constant(self, path: str) -> Any:
        value: Any = self.trace.constants.get(path)
        if value is None:
            value = self.trace.root
            for part in path.split("."):
                value = getattr(value, part)
        return value.item() if value.numel() == 1 else Opaque(path)

    def _function(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        target = node.target
        name = str(target if isinstance(target, str) else getattr(target, "__name__", target))
        values = list(values_in((args, kwargs)))
        if not values:
            return self._python(name, target, args, kwargs)
        if name in ("_assert", "_assert_is_none"):
            return None
        if all(isinstance(value, Opaque) for value in values):
            return Opaque(name, any(value.reported for value in values if isinstance(value, Opaque)))
        if target is getattr and isinstance(args[0], Signal | Current):
            return attribute(args[0], str(args[1]))
        home = str(getattr(target, "__module__", None)).partition(".")[0]
        if not isinstance(target, str) and home not in ("torch", "_operator", "builtins", "math", "None"):
            raise RefusalError(f"{name}: this program does not know it", "Write it with torch's own modules")
        if name == "getitem" and isinstance(args[0], Signal | Current) and not args[0].sure:
            return args[0]
        read_later = [user for user in node.all_input_nodes[0].users if user not in self.results]
        if name.endswith("_") and len(read_later) > 1:
            raise RefusalError(
                f"{name} works in place on what is read again", f"Use {name[:-1]} and its result"
            )
        if name in ("relu", "relu_"):
            return self._rectified(args[0] if args else kwargs["input"])
        step = function_step(name)
        if any(isinstance(value, Opaque) for value in values):
            names = ", ".join(value.name for value in values if isinstance(value, Opaque))
            if all(value.reported for value in values if isinstance(value, Opaque)):
                return guess((args, kwargs))
            problem = f"{name} with the tensor {names}: only numbers can be folded into weights"
            raise RefusalError(problem, "Put it into the weights and biases of a layer")
        if "input" in kwargs:
            args, kwargs = (kwargs["input"], *args), {k: v for k, v in kwargs.items() if k != "input"}
        return step(*args, **kwargs)

    def _python(self, name: str, target: Any, args: Any, kwargs: Any) -> Any:
        """Arithmetic on sizes is computed; tensors that are made on the way are not followed."""
        if isinstance(target, str):
            return getattr(args[0], target)(*args[1:], **kwargs)
        home = str(getattr(target, "__module__", None)).partition(".")[0]
        if home in ("_operator", "builtins", "math"):
            return target(*args, **kwargs)
        return None if name in ("_assert", "_assert_is_none") else Opaque(name)

    def _module(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        path = str(node.target)
        module = self._module_at(path)
        kind = (known_class(module) or type(module)).__name__
        values = [value for value in values_in((args, kwargs)) if isinstance(value, Signal | Current)]
        if not values:
            if any(value.reported for value in values_in((args, kwargs)) if isinstance(value, Opaque)):
                return Opaque(path, reported=True)
            raise RefusalError(
                f"{kind}: what it reads does not come from the input", "Feed it from the input"
            )
        value = values[0]
        spiking = kind in ("IAF", "IAFSqueeze")
        if (spiking or kind in ("Conv2d", "Linear")) and path in self.called:
            problem = "is called twice: both calls would share weights and states, and each core has its own"
            step = "Use a module of its own for each call, and one time step in forward"
            value = replace(value, sure=False)
            raise RefusalError(problem, step, instead=self._neurons(value, Neuron()) if spiking else value)
        self.called.add(path)
        if kind in ("Conv2d", "BatchNorm2d", "IAFSqueeze") and value.sure:
            one_axis(value)
        if kind in ("Conv2d", "Linear"):
            return self._weights(path, module, value, node)
        if spiking:
            neuron, refused = spiking_neuron(module, value.shape, value.dims)
            for error in refused:
                self._refuse(node, error, ())
            state = getattr(module, "v_mem", None)
            if state is not None and bool((state != 0).any()):
                self.notes.append("potentials that neurons hold are left out: the network starts from 0")
            return self._neurons(value, neuron)
        if kind in ("ReLU", "NeuromorphicReLU"):
            return self._rectified(value)
        if kind in ("BatchNorm1d", "BatchNorm2d"):
            return self._normalised(module, value)
        if kind == "Merge" and len(values) == 2:
            return add(values[0], values[1], padded=True)
        if kind == "DVSLayer":
            return self._sensor(node, module, value)
        if kind in MODULE_STEPS:
            return MODULE_STEPS[kind](module, value)
        error = unknown_module(kind)
        spikes = hasattr(module, "spike_fn") and isinstance(value, Current)
        error.instead = self._neurons(value, Neuron()) if spikes else None
        raise error

    def _weights(self, path: str, module: Any, value: Value, node: fx.Node) -> Current:
        operation: Convolution | Linear
        if isinstance(value, Current):
            if value.sure:
                self._unfinished(node, value)
            value = Signal((Part(value.layer),), value.shape, value.dims, value.leads, value.sure)
        flat = isinstance(module, nn.Linear)
        operation = linear_of(module) if flat else convolution_of(module)
        reads = int(module.in_features if flat else module.in_channels)
        signal, fits = self._arriving(node, value, reads, flat)
        if module._forward_pre_hooks:
            self.notes.append(f"{path}: its forward hooks were not run; its weights are taken as they stand")
        if str(module.weight.dtype) == "torch.float64":
            self.notes.append("weights in double precision are rounded to float32")
        shape = Layer(path, signal.shape, operation).output_shape
        if min(shape) < 1:
            size = f"{signal.shape.height}x{signal.shape.width}"
            error = MisfitError(
                f"its kernel leaves nothing of a map of {size}",
                "Check the input shape and the pools before it",
            )
            self._refuse(node, error, signal)
            shape, fits = Shape(shape.features, 1, 1), False
        for part in signal.parts:
            path_steps = part.path
            if flat and not any(isinstance(step, Flatten) for step in path_steps):
                path_steps = (*path_steps, Flatten())
            self.edges.append(Edge(part.source, path, path_steps, part.offset))
        self.drafts[path] = LayerDraft(path, operation, (), None, reads)
        dims = (shape.features,) if flat else tuple(shape)
        return Current(path, shape, dims, signal.leads, signal.sure and fits)

    def _unfinished(self, node: fx.Node, current: Current) -> None:
        step = f"Put neurons behind layer {current.layer}"
        problem = f"reads the currents of layer {current.layer}, which has no spiking neurons"
        self._refuse(node, RefusalError(problem, step), ())

    def _arriving(self, node: fx.Node, signal: Signal, reads: int, flat: bool) -> tuple[Signal, bool]:
        """The signal as the weights see it, and whether it is what they read."""
        problem = step = ""
        got: object = None
        if flat and (len(signal.dims) != 1 or signal.dims[0] != reads):
            got, step = "x".join(map(str, signal.dims)), "Flatten before it, and check the input shape"
            problem = f"its weights read {reads} values"
        elif not flat and (signal.dims != tuple(signal.shape) or signal.shape.features != reads):
            got = "x".join(map(str, signal.dims))
            step = "Check the input shape and what is concatenated before it"
            problem = f"its weights read {reads} features"
        if problem:
            problem += f" (the input shape is {self.shape})"
            self._refuse(node, MisfitError(problem, step, got), signal)
        return (flattened(signal) if flat else signal), not problem

    def _neurons(self, value: Value, neuron: Neuron) -> Signal:
        if isinstance(value, Signal):
            if not value.sure:
                return value
            step = "Put a Conv2d or Linear before them"
            raise RefusalError("neurons without weights before them: a core has both", step)
        if value.layer in self.fired and value.sure:
            problem = f"the currents of layer {value.layer} are used twice"
            raise RefusalError(problem, "Read the spikes of its one group of neurons instead")
        self.fired.add(value.layer)
        self.drafts[value.layer] = replace(self.drafts[value.layer], between=value.between, neuron=neuron)
        return Signal((Part(value.layer),), value.shape, value.dims, value.leads, value.sure)

    def _rectified(self, value: Any) -> Signal:
        signal = self._neurons(value, relu_neuron(self.relu_as_if or 1.0))
        if self.relu_as_if is None:
            step = "--relu-as-if (in Python: TorchOptions(relu_as_if=1.0)) makes it spiking neurons"
            raise RefusalError("ReLU: chips have spiking neurons only", step, instead=signal)
        threshold = f"threshold {self.relu_as_if:g}, lower bound {-self.relu_as_if:g}"
        self.notes.append(f"ReLU taken as IF neuron with {threshold}, multi-spike, subtract")
        return signal

    def _normalised(self, module: Any, value: Value) -> Current:
        if isinstance(value, Signal):
            problem = "batch normalisation of spikes: a core normalises currents, folded into its weights"
            raise RefusalError(problem, "Put it between weights and neurons")
        norm = batch_norm_of(module)
        features, flat = int(module.num_features), type(module).__name__
        expected = 3 if known_class(module) is nn.BatchNorm2d else 1
        if features != value.shape.features or len(value.dims) != expected or expected > len(value.dims):
            got = "x".join(map(str, value.dims))
            raise MisfitError(f"{flat} of {features} features does not fit its input", "", got)
        return replace(value, between=(*value.between, norm))

    def _sensor(self, node: fx.Node, module: Any, value: Value) -> Signal:
        part = value.parts[0] if isinstance(value, Signal) else Part("")
        alone = (
            isinstance(value, Signal) and value.parts == (Part(part.source),) and part.source in self.inputs
        )
        readers = [
            user for entry in node.all_input_nodes for user in entry.users if user.target is not getattr
        ]
        if not alone or len(readers) > 1:
            problem = "the sensor stage comes first, and all that reads the sensor reads it behind the stage"
            raise RefusalError(problem, "Make the DVSLayer the only reader of the input")
        shape, settings, pool = dvs_of(module)
        if self.shape[1:] != tuple(module.input_shape)[-2:]:
            stated = "x".join(map(str, module.input_shape))
            raise MisfitError("states another input shape", "Leave --input-shape out", self.shape, stated)
        self.inputs[part.source] = Input(part.source, shape, settings)
        if module.disable_pixel_array:
            self.notes.append(
                f"{node.target}: events come through the sensor stage; its pixels are switched off"
            )
        signal = Signal((part,), shape, tuple(shape), value.leads)
        return followed(signal, pool) if pool else signal

    def _outputs(self, result: Any) -> None:
        used: set[str] = set()
        for key, entry in entries(result, ""):
            if isinstance(entry, Opaque) and not entry.reported:
                self._output_refused(key, f"the tensor {entry.name} does not come from the input")
            if not isinstance(entry, Signal | Current):
                continue
            value = self._last(key, entry) if isinstance(entry, Current) else entry
            if len(value.parts) > 1:
                names = ", ".join(part.source for part in value.parts)
                self.notes.append(f"output {key or 'of the module'}: joining {names} is left to the host")
            signal = flattened(value) if len(value.dims) == 1 else value
            for part in signal.parts:
                if part.source in self.inputs:
                    # Behind something refused, a signal is the one before it.
                    if not self.unsupported:
                        self._output_refused(key, f"holds the input {part.source} itself, which no core sends")
                    continue
                name = key or part.source
                name = f"{name}.{part.source}" if key and len(signal.parts) > 1 else name
                while name in used:
                    name += "_again"
                used.add(name)
                self.outputs.append(Output(name, part.source, part.path))

    def _output_refused(self, key: str, problem: str) -> None:
        step = "Return what layers give"
        self.unsupported.append(Finding(f"output {key}".strip(), problem, next_step=step))

    def _last(self, key: str, current: Current) -> Signal:
        """A weight layer without neurons at the end; `--add-output-neuron` gives it some."""
        draft = self.drafts[current.layer]
        if current.sure and (current.layer in self.fired or draft.between not in ((), current.between)):
            self._output_refused(key, f"holds the currents of layer {current.layer}, which no core sends")
        elif current.layer not in self.fired:
            self.drafts[current.layer] = replace(draft, between=current.between)
        return Signal((Part(current.layer),), current.shape, current.dims, current.leads, current.sure)
