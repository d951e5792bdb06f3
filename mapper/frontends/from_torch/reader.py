"""Following a traced module step by step: weight layers and their neurons become layers, the rest edges."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Any

from torch import fx, nn

from mapper.asking import RELU_AS_IF
from mapper.errors import Finding, ShapeError, UnsupportedLayerError
from mapper.folding import zero_padded
from mapper.frontends.from_torch.foreign import EXPORTERS, FOREIGN_NEURONS, QUANTISED, gives_state
from mapper.frontends.from_torch.leaves import (
    convolution_of,
    linear_of,
    relu_neuron,
    spiking_neuron,
    unknown_module,
)
from mapper.frontends.from_torch.misfits import misfit
from mapper.frontends.from_torch.sensor import sensor_stage
from mapper.frontends.from_torch.steps import (
    MODULE_STEPS,
    TAKES_MARGINS,
    add,
    attribute,
    computed,
    function_step,
)
from mapper.frontends.from_torch.sums import is_summed, layers_of, normalised, with_neurons
from mapper.frontends.from_torch.trace import Trace, known_class
from mapper.frontends.from_torch.values import (
    BATCH,
    NO_MARGINS,
    Current,
    MisfitError,
    Opaque,
    Part,
    RefusalError,
    Signal,
    Value,
    entries,
    flattened,
    guess,
    one_axis,
    unpadded,
    values_in,
)
from mapper.frontends.inference import LayerDraft
from mapper.network import Edge, Input, Layer, Output
from mapper.operations import Convolution, Flatten, Linear, Neuron, Shape
from mapper.reading import Reading
from mapper.wording import titled

__all__ = ["Reader"]

# What wrong arguments and fields of the user's modules raise, here and in torch; anything else is our fault.
_MISUSE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class Reader:
    """One trace while it is followed; collects findings so that all can be told at once.

    Attributes
    ----------
    unsupported, misfits, findings
        What no chip can do or this program does not know; shapes; everything else.
    readings
        What was taken for granted.
    sites
        Calls of neuron modules in their order, as (module, layer): where the module itself can be watched.
    rectified
        Layers whose neurons are rectifiers in the module.
    """

    def __init__(
        self, trace: Trace, shape: Shape, relu_as_if: float | None, leads: tuple[int, ...] = (BATCH,)
    ) -> None:
        self.trace, self.shape, self.relu_as_if, self.leads = trace, shape, relu_as_if, leads
        self.unsupported: list[Finding] = []
        self.misfits: list[Finding] = []
        self.readings: list[Reading] = []
        self.notes: list[str] = []
        self.inputs: dict[str, Input] = {}
        self.drafts: dict[str, LayerDraft] = {}
        self.edges: list[Edge] = []
        self.outputs: list[Output] = []
        self.results: dict[fx.Node, Any] = {}
        self.called: set[str] = set()
        self.fired: set[str] = set()
        self.bare: dict[str, Current] = {}
        self.signals: dict[str, Shape] = {}
        self.rectified: set[str] = set()
        self.sites: list[tuple[str, str]] = []
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
                result = self.results[node] = self._step(node, args, kwargs)
                self._watch(node, (args, kwargs), result)
            except RefusalError as error:
                self._refuse(node, error, (args, kwargs))
                self.results[node] = error.instead or guess((args, kwargs))
            except _MISUSE as error:
                text = " ".join(str(error).split())[:200]
                problem = f"cannot be read: {type(error).__name__}: {text}"
                self._refuse(node, RefusalError(problem, "Check its arguments and attributes"), ())
                self.results[node] = guess((args, kwargs))

    def _watch(self, node: fx.Node, arguments: Any, result: Any) -> None:
        """Keep where a module turns the currents of a layer into its spikes."""
        if node.op == "call_module":
            came, given = (next(values_in(values), None) for values in (arguments, result))
            if isinstance(came, Current) and isinstance(given, Signal):
                self.sites.append((str(node.target), given.parts[0].source))

    def _take(self, subject: str, taken: str, why: str = "", otherwise: str = "") -> None:
        self.readings.append(Reading(subject, taken, why, otherwise))

    def _refuse(self, node: fx.Node, error: RefusalError, arguments: Any) -> None:
        finding = self.trace.finding(node, error)
        if not isinstance(error, MisfitError):
            self.unsupported.append(finding)
        elif all(value.sure for value in values_in(arguments) if not isinstance(value, Opaque)):
            # Behind something refused the shapes are guesses, and no reason to complain.
            self.misfits.append(finding)

    def _step(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        if node.op == "placeholder":
            return self._placeholder(node)
        if node.op == "get_attr":
            value = self.trace.constant(str(node.target))
            return value.item() if value.numel() == 1 else Opaque(str(node.target))
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

    def _function(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        target = node.target
        name = str(target if isinstance(target, str) else getattr(target, "__name__", target))
        if not (values := list(values_in((args, kwargs)))):
            return computed(name, target, args, kwargs)
        if name == "getitem" and isinstance(args[0], tuple):
            return args[0][args[1]]
        if name == "stack" and is_summed(node):
            return tuple(args[0])
        if name == "sum" and isinstance(args[0], tuple):
            return reduce(add, args[0])
        if name in ("_assert", "_assert_is_none"):
            return None
        if all(isinstance(value, Opaque) for value in values):
            return Opaque(name, any(value.reported for value in values if isinstance(value, Opaque)))
        if target is getattr and isinstance(args[0], Signal | Current):
            return attribute(args[0], str(args[1]))
        home = str(getattr(target, "__module__", None)).partition(".")[0]
        if not isinstance(target, str) and home not in ("torch", "_operator", "builtins", "math", "None"):
            if (home, name) == ("nirtorch", "GraphExecutorState"):  # what neurons keep: no map
                return Opaque(name, reported=True)
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
        if name not in TAKES_MARGINS:
            unpadded((args, kwargs), name)
        if any(isinstance(value, Opaque) for value in values):
            names = ", ".join(value.name for value in values if isinstance(value, Opaque))
            if all(value.reported for value in values if isinstance(value, Opaque)):
                return guess((args, kwargs))
            problem = f"{name} with the tensor {names}: only numbers can be folded into weights"
            raise RefusalError(problem, "Put it into the weights and biases of a layer")
        if "input" in kwargs:
            args, kwargs = (kwargs["input"], *args), {k: v for k, v in kwargs.items() if k != "input"}
        return step(*args, **kwargs)

    def _module(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        path = str(node.target)
        module = self.trace.root.get_submodule(path)
        known = known_class(module) or type(module)
        package = str(known.__module__).partition(".")[0]
        kind = QUANTISED.get(known.__name__, known.__name__)
        foreign = FOREIGN_NEURONS.get((package, kind))
        values = [value for value in values_in((args, kwargs)) if isinstance(value, Signal | Current)]
        if not values:
            if any(value.reported for value in values_in((args, kwargs)) if isinstance(value, Opaque)):
                return Opaque(path, reported=True)
            raise RefusalError(
                f"{kind}: what it reads does not come from the input", "Feed it from the input"
            )
        value = values[0]
        spiking = (package == "sinabs" and kind in ("IAF", "IAFSqueeze")) or foreign is not None
        if (spiking or kind in ("Conv2d", "Linear")) and path in self.called:
            problem = "is called twice: both calls would share weights and states, and each core has its own"
            step = "Use a module of its own for each call, and one time step in forward"
            value = replace(value, sure=False)
            raise RefusalError(problem, step, instead=self._neurons(value, Neuron()) if spiking else value)
        self.called.add(path)
        if kind not in TAKES_MARGINS:
            unpadded(values, kind)
        if kind in ("Conv2d", "BatchNorm2d", "IAFSqueeze") and value.sure:
            one_axis(value)
        if spiking and kind == "IAF" and isinstance(value, Current) and value.sure and len(value.leads) == 1:
            step = "Use IAFSqueeze(batch_size=1)"
            raise RefusalError("IAF takes dimension 1 as time", step, instead=self._neurons(value, Neuron()))
        if kind in ("Conv2d", "Linear"):
            return self._weights(path, module, value, node)
        if foreign is not None:
            signal = self._neurons(value, foreign(module))
            return (signal, Opaque(path, reported=True)) if gives_state(package, module) else signal
        if spiking:
            neuron, refused = spiking_neuron(module, value.shape, value.dims)
            for error in refused:
                self._refuse(node, error, ())
            state = getattr(module, "v_mem", None)
            if state is not None and bool((state != 0).any()):
                taken = "the network starts from potential 0"
                self._take(f"layer {titled(path)}", taken, "potentials that neurons hold are left out")
            return self._neurons(value, neuron)
        if kind in ("ReLU", "NeuromorphicReLU"):
            return self._rectified(value)
        if kind in ("BatchNorm1d", "BatchNorm2d"):
            return normalised(module, value)
        if kind == "Merge" and len(values) == 2:
            return add(values[0], values[1], padded=True)
        if kind == "DVSLayer":
            return self._sensor(node, module, value)
        if kind in MODULE_STEPS:
            return MODULE_STEPS[kind](module, value)
        error = unknown_module(kind, exporter=EXPORTERS.get(package))
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
        if isinstance(operation, Convolution) and isinstance(value, Signal) and value.margins != NO_MARGINS:
            operation = zero_padded(operation, (value.shape.height, value.shape.width), value.margins)
            value = replace(value, margins=NO_MARGINS, dims=tuple(value.shape))
        reads = int(module.in_features if flat else module.in_channels)
        signal, fits = self._arriving(node, value, module)
        if str(module.weight.dtype) == "torch.float64":
            self._take(f"layer {titled(path)}", "weights rounded to float32", "they are in double precision")
        shape = Layer(path, signal.shape, operation).output_shape
        if min(shape) < 1:
            problem = f"its kernel leaves nothing of a map of {signal.shape.height}x{signal.shape.width}"
            error = MisfitError(problem, "Check the input shape and the pools before it")
            self._refuse(node, error, signal if fits else replace(signal, sure=False))
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
        step = f"Put neurons behind layer {titled(current.layer)}"
        problem = f"reads the currents of layer {titled(current.layer)}, which has no spiking neurons"
        self._refuse(node, RefusalError(problem, step), ())

    def _arriving(self, node: fx.Node, signal: Signal, module: nn.Module) -> tuple[Signal, bool]:
        """The signal as the weights see it, and whether it is what they read."""
        is_input = all(part.source in self.inputs for part in signal.parts)
        error = misfit(module, signal, self.shape if is_input else None)
        if error is not None:
            self._refuse(node, error, signal)
        return (flattened(signal) if isinstance(module, nn.Linear) else signal), error is None

    def _neurons(self, value: Value, neuron: Neuron) -> Signal:
        if isinstance(value, Signal):
            if not value.sure:
                return value
            step = "Put a Conv2d or Linear before them"
            raise RefusalError("neurons without weights before them: a core has both", step)
        twice = [layer for layer in layers_of(value) if layer in self.fired]
        if twice and value.sure:
            problem = f"the currents of layer {titled(twice[0])} are used twice"
            raise RefusalError(problem, "Read the spikes of its one group of neurons instead")
        self._finish(value, neuron)
        return Signal((Part(value.layer),), value.shape, value.dims, value.leads, value.sure)

    def _finish(self, current: Current, neuron: Neuron | None) -> None:
        named = dict.fromkeys({*self.taken, *self.drafts}, current.shape)
        known = named | self.signals | {key: entry.shape for key, entry in self.inputs.items()}
        self.fired.update(layers_of(current))
        self.signals[current.layer] = current.shape
        try:
            drafts, edges, notes = with_neurons(current, neuron, self.drafts, self.edges, known)
        except (UnsupportedLayerError, ShapeError) as error:
            (self.misfits if isinstance(error, ShapeError) else self.unsupported).extend(error.findings)
        else:
            self.drafts, self.edges = drafts, edges
            self.notes += notes

    def _rectified(self, value: Any) -> Signal:
        signal = self._neurons(value, relu_neuron(self.relu_as_if or 1.0))
        if self.relu_as_if is None:
            way_out = f"{RELU_AS_IF.to(1, '1.0')} makes it spiking neurons"
            raise RefusalError("ReLU: chips have spiking neurons only", way_out, instead=signal)
        if not isinstance(value, Current):  # behind something refused: there are no neurons to tell of
            return signal
        self.rectified.update(part.source for part in signal.parts)
        bounds = f"threshold {self.relu_as_if:g}, lower bound {-self.relu_as_if:g}"
        taken = f"ReLU taken as IF neuron with {bounds}, multi-spike, subtract"
        title = self.drafts[signal.parts[0].source].title
        self._take(f"layer {title}", taken, "chips have spiking neurons only")
        return signal

    def _sensor(self, node: fx.Node, module: Any, value: Value) -> Signal:
        readers = [
            user for entry in node.all_input_nodes for user in entry.users if user.target is not getattr
        ]
        entry, signal = sensor_stage(module, value, self.inputs, is_only_reader=len(readers) == 1)
        self.inputs[entry.name] = entry
        if module.disable_pixel_array:
            taken = "events come through the sensor stage; its pixels are switched off"
            self._take(f"layer {titled(str(node.target))}", taken, "disable_pixel_array is set")
        return signal

    def _outputs(self, result: Any) -> None:
        used: set[str] = set()
        for key, entry in entries(result, ""):
            if isinstance(entry, Opaque) and not entry.reported:
                self._output_refused(key, f"the tensor {entry.name} does not come from the input")
            if not isinstance(entry, Signal | Current):
                continue
            value = self._last(key, entry) if isinstance(entry, Current) else entry
            if value.margins != NO_MARGINS:
                self._output_refused(key, "pads a map with zeros, which no core sends")
            if len(value.parts) > 1:
                names = ", ".join(part.source for part in value.parts)
                taken = f"joining {names} is left to the host"
                self._take(f"output {key or 'of the module'}", taken, "a core sends what one layer gives")
            for part in (flattened(value) if len(value.dims) == 1 else value).parts:
                if part.source in self.inputs:
                    if not self.unsupported:  # else it is the signal before what was refused
                        self._output_refused(key, f"holds the input {part.source}, which no core sends")
                    continue
                name = key or part.source
                name = f"{name}.{part.source}" if key and len(value.parts) > 1 else name
                while name in used:
                    name += "_again"
                used.add(name)
                self.outputs.append(Output(name, part.source, part.path))

    def _output_refused(self, key: str, problem: str) -> None:
        step = "Return what layers give"
        self.unsupported.append(Finding(f"output {key}".strip(), problem, next_step=step))

    def _last(self, key: str, current: Current) -> Signal:
        """A weight layer without neurons at the end; `--add-output-neuron` gives it some."""
        before = self.bare.get(current.layer)
        same = before is not None and (before.between, before.addends) == (current.between, current.addends)
        taken = [layer for layer in layers_of(current) if layer in self.fired]
        if current.sure and taken and not same:
            self._output_refused(key, f"holds the currents of layer {titled(taken[0])}, which no core sends")
        elif not taken:
            self.bare[current.layer] = current
            self._finish(current, None)
        return Signal((Part(current.layer),), current.shape, current.dims, current.leads, current.sure)
