"""The reading check: a copy of the module runs on random frames, and the network must compute the same.

Layers are compared one by one, each on what the module itself gave it: currents before the neurons, then
their spikes. So a difference names its layer, and rounding in one layer does not reach the next.

Tolerance. The reference simulation computes in double precision, a module mostly in single, and sums in
another order. A current may thus differ by `_RELATIVE` of the most that its terms can add up to, a potential
by what its steps allow together; a number of spikes may be any that such potentials give, so that a potential
at the threshold is no difference. More than that is no difference either where it vanishes in double
precision, as long as rounding can do it (`rounding_of`): a module that computes something else in its own
precision alone is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from mapper.asking import READING_CHECK
from mapper.errors import Finding, NetworkError
from mapper.frontends.from_torch.agreement import (
    DifferenceError,
    adopted,
    agree,
    differ_at,
    most_of,
    rounding_of,
)
from mapper.frontends.from_torch.modes import Modes
from mapper.frontends.from_torch.plan import DRIVEN, NATURAL, plan_of
from mapper.frontends.from_torch.reader import Reader
from mapper.frontends.from_torch.rerun import Call, Rerun, untouched
from mapper.frontends.from_torch.sensor import sensed
from mapper.frontends.from_torch.suspects import suspects
from mapper.frontends.from_torch.trace import FAILURES
from mapper.frontends.from_torch.values import Current, Signal, entries
from mapper.network import Edge, Layer, Network
from mapper.operations import Shape
from mapper.reading import Reading
from mapper.sim.network import along, current_of, deliver, fire
from mapper.wording import counted

__all__ = ["evidence"]

# Of the most that a current's terms can add up to, by precision; see the text of this module. Even in double
# precision what the network holds was rounded to float32.
_RELATIVE = {torch.float64: 1e-6, torch.float32: 2e-6}
# In half precision torch sums in single; what it stores of a sum is rounded a few times (2^-8 in bfloat16).
_RELATIVE_ELSE = 2e-2
_GRADIENTS = "gradients were recorded when this came up, and it computes what was read without them"
_AUTOCAST = "forward runs under torch.autocast, which rounds weights and currents to half precision"
_STEP = "Write it with torch's own modules and without what changes their results, or export it to NIR"


@dataclass
class _State:
    """Potentials of one sample by layer, how far they may be off, and which layers spiked."""

    potentials: dict[str, Any] = field(default_factory=dict)
    slack: dict[str, Any] = field(default_factory=dict)


def evidence(
    root: nn.Module, reader: Reader, network: Network, training: Mapping[str, bool]
) -> tuple[Reading, ...]:
    """Compare the network as read with what the module computes.

    Parameters
    ----------
    root
        The module that was traced; it is as before afterwards.
    reader
        What followed it.
    training
        By path, modules whose mode is to be compared with eval mode, and whether they are in training mode.

    Returns
    -------
    tuple
        What could not be shown, or only in eval mode.

    Raises
    ------
    NetworkError
        The first difference, with layer, step and both values; or the module cannot run.
    """
    failed: list[BaseException] = []
    comparison: _Comparison | None
    own = len(reader.leads)
    with untouched(root):
        # Batch and time may be one axis or two, whichever way the module could be traced.
        for axes in (own, 3 - own):
            for dtype in (None, torch.float64):
                try:
                    comparison = _Comparison(root, reader, network, (axes, dtype))
                    silent = comparison.run()
                    if dtype is None or _is_rounding(failed[-1]):
                        told = comparison.in_other_modes(training)
                        return (*(_silent(network.title(name)) for name in silent), *told)
                # The user's code may fail in any way, and sys.exit there is no end of ours.
                except FAILURES as error:
                    # What it passed through holds a copy of the module, as large as all weights.
                    failed.append(error.with_traceback(None))
                comparison = None
    different = [error for error in failed if isinstance(error, DifferenceError)]
    raise _refusal(root, reader, (different or failed)[0])


def _is_rounding(error: BaseException) -> bool:
    """Whether a difference may vanish in double precision: its size is that of rounding."""
    return not isinstance(error, DifferenceError) or error.is_rounding


def _way_out() -> str:
    return f"{READING_CHECK.to(False)} takes the network as it was read"


def _silent(layer: str) -> Reading:
    taken = "its neurons as read, not compared with the module's"
    return Reading(f"layer {layer}", taken, "they never spiked on the frames of the reading check")


def _refusal(root: nn.Module, reader: Reader, error: BaseException) -> NetworkError:
    if isinstance(error, DifferenceError):
        near = [path for path, layer in reader.sites if layer == error.layer]
        reasons = [*error.reasons, *suspects(root, near)]
        step = f"{'; '.join(reasons)}. " if reasons else ""
        return NetworkError(Finding(error.where, error.problem, next_step=f"{step}{_STEP}. {_way_out()}"))
    text = " ".join(str(error).split())[:300]
    problem = f"cannot be compared with what was read: its forward fails on frames of {reader.shape}"
    problem += f" ({type(error).__name__}: {text})"
    step = f"Make it run on one time step. {_way_out()}"
    return NetworkError(Finding(type(root).__name__, problem, next_step=step))


class _Comparison:
    """One copy of the module and the network as read, step by step."""

    def __init__(
        self, root: nn.Module, reader: Reader, network: Network, form: tuple[int, torch.dtype | None]
    ) -> None:
        self.form = form
        self.axes, dtype = form
        self.root, self.reader, self.network = root, reader, network
        self.rerun = Rerun(root, dtype, (path for path, _ in reader.sites))
        self.relative = _RELATIVE.get(self.rerun.dtype, _RELATIVE_ELSE)
        # What rounding in the module's precision can do, layer by layer; in double precision no more.
        self.rounding = dict.fromkeys(network.by_name, self.relative)
        self.plan = plan_of(root, [path for path, _ in reader.sites], self.axes)
        self.draw = np.random.default_rng(0)
        self.site = _sites(reader)
        self.most = {layer.name: most_of(layer) for layer in network.layers}
        self.sensor = next((m for m in root.modules() if type(m).__name__ == "DVSLayer"), None)
        self.results = _results(reader)
        # The first and the last sample: what mixes samples shows in one of them.
        self.states = {sample: _State() for sample in {0, self.plan.samples - 1}}
        self.spiked = {layer.name for layer in network.layers if layer.neuron is None}
        if self.rerun.dtype != torch.float64:
            shares = rounding_of(network, frozenset(self.site))
            self.rounding = {name: max(self.relative, share) for name, share in shares.items()}
        self.first: list[torch.Tensor] = []

    def run(self) -> list[str]:
        """Names of layers that never spiked; a difference raises."""
        try:
            return self._run()
        except DifferenceError as error:
            if self.rerun.is_autocast:
                error.reasons = (*error.reasons, _AUTOCAST)
            raise

    def in_other_modes(self, training: Mapping[str, bool]) -> tuple[Reading, ...]:
        """What is told of how the module runs; a difference while gradients are recorded raises."""
        told, name = [], type(self.root).__name__
        if self.rerun.is_autocast:
            told.append(Reading(name, "taken in single precision", _AUTOCAST))
        paths = tuple(path for path, _ in self.reader.sites)
        modes = Modes(self.root, self.form[1], paths, self.first)
        if modes.differs_with_gradients():
            # Rounding alone may differ: the whole comparison knows how much of that is none.
            try:
                with torch.enable_grad():
                    _Comparison(self.root, self.reader, self.network, self.form).run()
            except DifferenceError as error:
                error.reasons = (_GRADIENTS, *error.reasons)
                if not error.is_rounding:
                    raise
        if any(training.values()) and modes.differs_in_training(training):
            why = "it is in training mode, and computes something else there"
            told.append(Reading(name, "taken as in eval mode", why))
        return tuple(told)

    def _run(self) -> list[str]:
        for number in range(self.plan.calls):
            self._call(number, NATURAL, driven=False)
        silent = self._silent()
        # More than the module's own spikes: a layer whose sources are all but silent is hardly tried by them.
        for number in range(self.plan.calls, 3 * self.plan.calls):
            if not silent:
                break
            self._call(number, DRIVEN, driven=True)
            silent = self._silent()
        return sorted(silent, key=list(self.network.by_name).index)

    def _silent(self) -> frozenset[str]:
        return frozenset(self.network.by_name) - self.spiked

    def _call(self, number: int, kinds: Sequence[tuple[float, int]], *, driven: bool) -> None:
        """One call of the module; driven, its neurons give random spikes to those behind them."""
        samples, steps = self.plan.samples, self.plan.steps
        kind = [kinds[(number * steps + n) % len(kinds)] for n in range(steps)]
        raw = {name: self._frames(kind, self.reader.shape) for name in self.reader.inputs}
        leads = (samples, steps) if self.axes == 2 else (samples * steps,)
        given = [torch.from_numpy(array.reshape(*leads, *array.shape[2:])) for array in raw.values()]
        self.first = self.first or given
        instead = {}
        for name, (path, _) in self.site.items() if driven else ():
            if name in self.network.by_name and sum(entry == path for entry, _ in self.site.values()) == 1:
                instead[path] = torch.from_numpy(self._frames(kind, self.network.by_name[name].output_shape))
        call = self.rerun(given, instead)
        for sample in self.states:
            for step in range(steps):
                frames = {name: raw[name][sample, step] for name in raw}
                self._compare(call, instead, frames, sample, (number * steps + step, sample * steps + step))

    def _frames(self, kinds: Sequence[tuple[float, int]], shape: Shape) -> Any:
        """Random counts (samples, steps, features, height, width)."""
        samples = self.plan.samples
        return np.stack(
            [
                (self.draw.random((samples, *shape)) < rate)
                * self.draw.integers(1, most + 1, (samples, *shape))
                for rate, most in kinds
            ],
            axis=1,
        ).astype(np.float64)

    def _compare(
        self,
        call: Call,
        instead: Mapping[str, torch.Tensor],
        frames: Mapping[str, Any],
        sample: int,
        moment: tuple[int, int],
    ) -> None:
        step, row = moment
        signals = {
            entry.name: sensed(self.sensor, entry, frames[entry.name]) for entry in self.network.inputs
        }
        reach = dict(signals)
        for layer in self.network.layers:
            arriving, sizes = (self._arriving(layer, source) for source in (signals, reach))
            current = current_of(layer, arriving)
            bound = current_of(self.most[layer.name], np.abs(sizes).max(keepdims=True))
            seen = self._seen(call.came, layer, row)
            if seen is not None:
                limits = (self.relative * bound, self.rounding[layer.name] * bound)
                agree(layer.title, "current", step, seen, current, limits)
            made = self._seen(call.gave, layer, row)
            value = self._neurons(layer, (current, bound), made, (step, sample))
            signals[layer.name], reach[layer.name] = value, np.abs(value) + (bound if made is None else 0)
            if layer.name in self.site and self.site[layer.name][0] in instead:
                put = instead[self.site[layer.name][0]].flatten(0, 1)[row].numpy()
                signals[layer.name] = reach[layer.name] = put
        self._outputs(call, signals, reach, (step, row))

    def _arriving(self, layer: Layer, signals: Mapping[str, Any]) -> Any:
        arriving = np.zeros(layer.input_shape)
        for edge in self.network.incoming[layer.name]:
            deliver(edge, signals[edge.source], arriving)
        return arriving

    def _seen(self, calls: Mapping[str, list[torch.Tensor]], layer: Layer, row: int) -> Any:
        """What the module gave or was given at a layer's neurons for one frame; None if unknown."""
        if layer.name not in self.site:
            return None
        path, number = self.site[layer.name]
        tensors = calls.get(path, [])
        expected = sum(entry == path for entry, _ in self.reader.sites)
        if len(tensors) != expected:
            problem = f"module {path} ran {len(tensors)} times in one call, and {expected} as read"
            raise DifferenceError(f"layer {layer.title}", layer.name, problem)
        tensor, count = tensors[number], self.plan.samples * self.plan.steps
        if tensor.numel() != count * layer.output_shape.size:
            frames = counted(count, "frame")
            problem = f"has the shape {tuple(tensor.shape)} for {frames}, and {layer.output_shape} as read"
            raise DifferenceError(f"layer {layer.title}", layer.name, problem)
        return tensor.reshape(count, *layer.output_shape)[row].to(torch.float64).numpy()

    def _neurons(self, layer: Layer, currents: tuple[Any, Any], made: Any, moment: tuple[int, int]) -> Any:
        """What a layer gives: the module's own values, if they are known and what was read allows them."""
        (current, bound), (step, sample) = currents, moment
        if layer.neuron is None:
            return current
        name, state = layer.name, self.states[sample]
        if self.reader.rectified and name not in self.reader.signals:
            # It passes on, for a sum of currents, what rectifiers give.
            return np.maximum(current, 0) / np.asarray(layer.neuron.threshold).reshape(-1, 1, 1)
        if name in self.reader.rectified:
            value = np.maximum(current, 0)
            self.spiked |= {name} if value.any() else set()
            if made is not None:
                kind = type(self.root.get_submodule(self.site[name][0])).__name__
                rounded = 1.0 if kind == "NeuromorphicReLU" else 0.0
                shares = (self.relative, self.rounding[name])
                limits = tuple(share * bound + rounded for share in shares)
                agree(layer.title, "value", step, made, value, limits)
            return value if made is None else made
        potential = state.potentials.get(name, np.zeros(layer.output_shape))
        # Neurons that bound a potential may add the bound and take it away, as sinabs does.
        held = 2 * torch.finfo(self.rerun.dtype).eps * abs(layer.neuron.minimum or 0.0)
        slack = state.slack.get(name, 0.0) + self.relative * bound + held
        spikes, after = fire(layer, potential, current)
        self.spiked |= {name} if spikes.any() else set()
        if made is not None:
            off, far = (
                ~(
                    (made >= fire(layer, potential, current - shift)[0])
                    & (made <= fire(layer, potential, current + shift)[0])
                )
                for shift in (slack, self.rounding[name] / self.relative * slack)
            )
            differ_at((off, far), layer.title, "number of spikes", step, made, spikes)
            after, spikes = adopted(layer, (potential + current, after), spikes, made), made
        state.potentials[name] = after
        threshold = np.asarray(layer.neuron.threshold).reshape(-1, 1, 1)
        state.slack[name] = slack + self.relative * np.abs(spikes) * threshold
        return spikes

    def _outputs(
        self, call: Call, signals: Mapping[str, Any], reach: Mapping[str, Any], moment: tuple[int, int]
    ) -> None:
        step, row = moment
        made = [entry for _, entry in entries(call.result, "")]
        if len(made) != len(self.results):
            problem = f"returned {len(made)} values, and {len(self.results)} as read"
            raise DifferenceError("the module's result", "", problem)
        count = self.plan.samples * self.plan.steps
        for number, (given, value) in enumerate(zip(made, self.results, strict=True)):
            if not isinstance(value, Signal | Current) or not isinstance(given, torch.Tensor):
                continue
            parts = (
                (Edge(value.layer, ""),)
                if isinstance(value, Current)
                else tuple(Edge(part.source, "", part.path, part.offset) for part in value.parts)
            )
            if any(part.source not in signals for part in parts):
                continue
            shape = along(parts[0].path, signals[parts[0].source]).shape
            total, sizes = np.zeros((2, value.shape.features, *shape[1:]))
            for part in parts:
                deliver(part, signals[part.source], total)
                deliver(part, np.abs(reach[part.source]), sizes)
            name = f"output {number}" if len(made) > 1 else "output"
            if given.numel() != count * total.size:
                problem = f"has the shape {tuple(given.shape)} for {counted(count, 'frame')}, "
                problem += f"and {value.shape} as read"
                raise DifferenceError(name, "", problem)
            frames = given.detach().to(torch.float64).numpy().reshape(count, *total.shape)
            worst = max(self.rounding.get(part.source, self.relative) for part in parts)
            limits = tuple(max(4 * self.relative, share) * np.abs(sizes) for share in (0.0, worst))
            agree(name, "value", step, frames[row], total, limits)


def _sites(reader: Reader) -> dict[str, tuple[str, int]]:
    """By layer, the module of its neurons and which of that module's calls."""
    seen: dict[str, int] = {}
    sites = {}
    for path, layer in reader.sites:
        sites[layer] = (path, seen.get(path, 0))
        seen[path] = seen.get(path, 0) + 1
    return sites


def _results(reader: Reader) -> list[Any]:
    node = next(node for node in reversed(reader.trace.graph.nodes) if node.op == "output")
    return [entry for _, entry in entries(fx.node.map_arg(node.args[0], reader.results.__getitem__), "")]
