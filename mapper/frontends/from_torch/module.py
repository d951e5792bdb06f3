"""torch modules, sinabs networks among them, into a network: traced, compared with a copy that runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from mapper.asking import INPUT_FORM, INPUT_SHAPE, READING_CHECK, RELU_AS_IF
from mapper.errors import Finding, MissingShapeError, NetworkError, ShapeError, UnsupportedLayerError
from mapper.frontends import TorchOptions
from mapper.frontends.from_torch.evidence import evidence
from mapper.frontends.from_torch.reader import Reader
from mapper.frontends.from_torch.thresholds import Frames, thresholds_of, with_thresholds
from mapper.frontends.from_torch.trace import Trace, known_class, trace, unchanged, unwrapped
from mapper.frontends.from_torch.values import BATCH, TIME, Opaque, Signal, values_in
from mapper.frontends.inference import build_network, left_to_host
from mapper.network import Edge, Layer, Network
from mapper.operations import BatchNorm, Shape
from mapper.reading import Reading, gathered

__all__ = ["from_module", "neurons_by_layer"]

_SIZE_MAX = 1 << 24


def from_module(
    module: nn.Module, input_shape: tuple[int, int, int] | None = None, options: TorchOptions | None = None
) -> Network:
    """The network of a torch module.

    Its forward is traced with torch.fx. A copy of the module then runs on random frames, and the network must
    compute the same, unless the options say otherwise. Everything is taken as in eval mode, and nothing of
    the module changes.

    Parameters
    ----------
    input_shape
        (features, height, width) of every input; None takes what a sinabs DVSLayer, Network or InputLayer
        states.

    Raises
    ------
    NetworkError
        forward cannot be traced, or holds what no chip of the family can run: everything at once; or the
        module computes something else than what was read.
    ShapeError
        Layers that do not fit the input shape, or one another.
    """
    asked = options or TorchOptions()
    root, stated = unwrapped(module)
    shape = _input_shape(root, input_shape, stated)
    training = {path: entry.training for path, entry in root.named_modules()}
    known = any(_differs_in_training(entry, asked.reading_check) for entry in root.modules())
    reader = _read(root, shape, _threshold(asked))
    name = type(root).__name__
    if known:
        taken = "batch normalisation by its running statistics, dropout without effect"
        reader.readings.append(Reading(name, f"taken as in eval mode: {taken}", "it is in training mode"))
        training = {}
    if reader.unsupported:
        raise UnsupportedLayerError(*reader.findings)
    if reader.misfits:
        raise ShapeError(*reader.findings)
    network = _network(name, reader)
    network = network.replacing(readings=(*network.readings, *_biases(network, reader)))
    told = evidence(root, reader, network, training) if asked.reading_check else (_unchecked(name),)
    compared = "what the module computes on random frames, layer by layer" if asked.reading_check else ""
    network = network.replacing(readings=(*network.readings, *told), compared_with=compared)
    return network if asked.calibrate is None else _calibrated(network, reader, asked.calibrate)


def _biases(network: Network, reader: Reader) -> tuple[Reading, ...]:
    """That biases which were trained without time steps act in time on the chip."""
    taken = "biases are added at ticks of the chip's slow clock, one a time step"
    why = "ReLUs know no time: training with bias=False, and without batch norm, keeps more accuracy"
    biased = filter(_has_bias, network.layers) if reader.rectified else ()
    return gathered(Reading(f"layer {entry.title}", taken, why) for entry in biased)


def _has_bias(layer: Layer) -> bool:
    bias, is_normalised = layer.operation.bias, any(isinstance(step, BatchNorm) for step in layer.between)
    return is_normalised or (layer.operation.has_bias if bias is None else bool(bias.any()))


def _threshold(options: TorchOptions) -> float | None:
    """Of neurons in place of ReLUs; 1 until samples say what."""
    return 1.0 if options.relu_as_if == "auto" else options.relu_as_if


def _calibrated(network: Network, reader: Reader, samples: Frames) -> Network:
    """The network with thresholds from samples, which the readings tell instead of those before."""
    found = thresholds_of(network, reader.rectified, samples)
    listed = ", ".join(f"{network.title(name)} {found[name]:.4g}" for name in network.index if name in found)
    taken = f"neurons without lower bound, of thresholds {listed}; readers' weights are larger by these"
    why = "the largest value that each gives on the samples, robustly"
    told = Reading(network.name, taken, why, RELU_AS_IF.to("NUMBER", "NUMBER"))
    others = (entry for entry in network.readings if not entry.taken.startswith("ReLU taken"))
    return with_thresholds(network, found).replacing(readings=(*others, told))


def neurons_by_layer(
    module: nn.Module, input_shape: tuple[int, int, int], options: TorchOptions | None = None
) -> dict[str, nn.Module]:
    """By layer of the network that `from_module` reads, the module whose neurons it has."""
    root, stated = unwrapped(module)
    reader = _read(root, _input_shape(root, input_shape, stated), _threshold(options or TorchOptions()))
    found: dict[str, nn.Module] = {}
    for node, result in reader.results.items():
        if node.op == "call_module" and isinstance(result, Signal) and len(result.parts) == 1:
            entry = root.get_submodule(str(node.target))
            if hasattr(entry, "surrogate_grad_fn"):
                found[result.parts[0].source] = entry
    return found


def _unchecked(name: str) -> Reading:
    taken = "as read, not compared with what the module computes"
    return Reading(name, taken, "the reading check is switched off", f"leave {READING_CHECK.to(False)} out")


def _read(root: nn.Module, shape: Shape, relu_as_if: float | None) -> Reader:
    """Follow the module with batch and time as one axis, and where that does not go, with two."""
    best: Reader | None = None
    failure: NetworkError | None = None
    for leads in ((BATCH,), (BATCH, TIME)):
        try:
            reader = _followed(root, shape, relu_as_if, leads)
        except NetworkError as error:
            failure = failure or error
            continue
        # What is followed further before anything is refused is what the module means.
        if best is None or not reader.findings or _steps_followed(reader) > _steps_followed(best):
            best = reader
        if not best.findings:
            break
    if best is None or (failure is not None and best.findings):
        raise failure or NetworkError()
    return best


def _steps_followed(reader: Reader) -> int:
    """Steps before the first whose result is a guess, behind something refused."""
    for number, result in enumerate(reader.results.values()):
        if any(
            (isinstance(v, Opaque) and v.reported) or not getattr(v, "sure", True) for v in values_in(result)
        ):
            return number
    return len(reader.results)


def _followed(root: nn.Module, shape: Shape, relu_as_if: float | None, leads: tuple[int, ...]) -> Reader:
    def decide(begun: Trace, node: fx.Node) -> bool | None:
        """Whether a condition holds; None where that depends on data or on the size of the batch."""
        answers = set()
        # A batch of one as well: what holds for every batch depends on shapes alone.
        for size in (leads, (1, *leads[1:])):
            reader = Reader(begun, shape, relu_as_if, size)
            with unchanged(root):
                reader.run()
            value = reader.results.get(node)
            answers.add(bool(value) if isinstance(value, bool | int | float | str | tuple) else None)
        return answers.pop() if len(answers) == 1 else None

    reader = Reader(trace(root, decide), shape, relu_as_if, leads)
    with unchanged(root):
        reader.run()
    return reader


def _differs_in_training(module: nn.Module, is_run: bool) -> bool:
    """Whether a module in training mode computes something else than in eval mode, by its class.

    Of the user's own classes running them tells; where they are not run, their code.
    """
    known = known_class(module)
    if known is not None:
        return module.training and ("BatchNorm" in known.__name__ or "Dropout" in known.__name__)
    code = getattr(type(module).forward, "__code__", None)
    return module.training and not is_run and code is not None and "training" in code.co_names


def _input_shape(root: nn.Module, given: Any, stated: Any) -> Shape:
    where = f"module {type(root).__name__}"
    shape = given
    if shape is None:
        by_kind: dict[str, Any] = {}
        for entry in root.modules():
            if type(entry).__name__ in ("DVSLayer", "InputLayer"):
                by_kind.setdefault(type(entry).__name__, getattr(entry, "input_shape", None))
        shape = by_kind.get("DVSLayer") or stated or by_kind.get("InputLayer")
    if shape is None:
        step = f"Give {INPUT_SHAPE.to(*INPUT_FORM)}"
        raise MissingShapeError(Finding(where, "does not state its input shape", next_step=step))
    try:
        sizes = [int(size) for size in shape]
        whole = all(size == given for size, given in zip(sizes, shape, strict=True))
    except (TypeError, ValueError):
        sizes, whole = [], False
    if len(sizes) != 3 or not whole or min(sizes) < 1 or max(sizes) > _SIZE_MAX:
        step = f"Give {INPUT_SHAPE.to(*INPUT_FORM)}"
        raise NetworkError(Finding(where, "has an impossible input shape", shape, "C,H,W", next_step=step))
    return Shape(*sizes)


def _network(name: str, reader: Reader) -> Network:
    """What reaches an output; the rest is left out, and the notes say so."""
    edges = reader.edges
    needed = _sources([output.source for output in reader.outputs], edges)
    unused = [layer for layer in reader.drafts if layer not in needed]
    if unused:
        reader.readings += [
            Reading(f"layer {reader.drafts[name].title}", "left out", "no output depends on it")
            for name in unused
        ]
    inputs = [entry for key, entry in reader.inputs.items() if key in needed]
    drafts = [draft for key, draft in reader.drafts.items() if key in needed]
    kept = [edge for edge in edges if edge.target in needed]
    network = build_network(name, inputs, drafts, kept, reader.outputs, tuple(dict.fromkeys(reader.notes)))
    return network.replacing(readings=gathered((*reader.readings, *left_to_host(reader.outputs))))


def _sources(names: list[str], edges: list[Edge]) -> set[str]:
    """Names, and everything that feeds them."""
    before: Mapping[str, set[str]] = {edge.target: set() for edge in edges}
    for edge in edges:
        before[edge.target].add(edge.source)
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += before.get(name, ())
    return seen
