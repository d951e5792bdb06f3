"""A torch module read with the weights of a file: all of them or none, and the module stays as it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mapper.errors import Finding, NetworkError
from mapper.frontends import TorchOptions
from mapper.frontends.from_torch.module import from_module
from mapper.frontends.from_torch.weights_file import read_state_dict
from mapper.network import Network
from mapper.reading import Reading, gathered
from mapper.wording import counted

__all__ = ["read_module", "with_weights"]

# What wrappers and training scripts put before every name.
_PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.")
# By class of torch or sinabs, the attribute with all that is read, whose state dict a user may have saved.
_INNER = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
    "Network": "spiking_model",
}
# Potentials and currents of sinabs, which are buffers there: where a run stopped, no weights.
_STATES = ("v_mem", "i_syn")


def read_module(
    module: nn.Module, input_shape: tuple[int, int, int] | None, options: TorchOptions
) -> Network:
    """The network of a torch module, with the weights of `options` if there are any.

    Raises
    ------
    NetworkError
        As `with_weights` and `from_module`.
    """
    if options.weights is None:
        return from_module(module, input_shape, options)
    with with_weights(module, Path(options.weights)) as readings:
        network = from_module(module, input_shape, options)
    return network.replacing(readings=(*network.readings, *readings))


@contextmanager
def with_weights(module: nn.Module, path: Path) -> Iterator[tuple[Reading, ...]]:
    """A module with the weights of a file inside, as before outside; gives what was taken for granted.

    Raises
    ------
    NetworkError
        The file cannot be read, or a name, shape or type of it and the module differ: everything at once.
    """
    where = f"weights {path}"
    entries, readings = read_state_dict(path)
    fit = min(_fits(module, entries), key=lambda fit: fit.problem_count)
    if findings := list(_findings(fit, where)):
        raise NetworkError(*findings)
    with _replaced(fit):
        yield (*readings, *_readings(fit, f"weights {path.name}"))


@dataclass(frozen=True)
class _Fit:
    """A file's entries by the names of a module, after so much of a prefix was taken off.

    Attributes
    ----------
    own
        The module's tensors by name, without states of a run.
    given
        The file's entries by the module's names; `left_over` have none.
    states
        Entries of the file that are states of a run.
    """

    owner: nn.Module
    prefix: str
    own: Mapping[str, Any]
    given: Mapping[str, Any]
    left_over: Mapping[str, Any]
    states: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in self.own if name not in self.given)

    @property
    def common(self) -> tuple[str, ...]:
        return tuple(name for name in self.own if name in self.given)

    @property
    def unexpected(self) -> dict[str, Any]:
        unknown = {n: value for n, value in self.given.items() if n not in self.own}
        return {**{self.prefix + name: value for name, value in unknown.items()}, **self.left_over}

    @property
    def misshapen(self) -> tuple[str, ...]:
        return tuple(n for n in self.common if _shape(self.own[n]) != _shape(self.given[n]))

    @property
    def problem_count(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.misshapen)


def _fits(module: nn.Module, entries: Mapping[str, Any]) -> Iterator[_Fit]:
    """Every way to read the names, the plainest first."""
    owners = [module]
    while (inner := _wrapped(owners[-1])) is not None:
        owners.append(inner)
    prefix, names = "", entries
    left_over: dict[str, Any] = {}
    while True:
        for owner in owners:
            states = _state_names(owner)
            own = {n: v for n, v in owner.state_dict(keep_vars=True).items() if n not in states}
            given = {n: value for n, value in names.items() if n not in states}
            held = tuple(n for n in names if n in states and _shape(names[n]) != "(0)")
            yield _Fit(owner, prefix, own, given, dict(left_over), held)
        counts = {entry: sum(name.startswith(entry) for name in names) for entry in _PREFIXES}
        best = max(counts, key=lambda entry: counts[entry])
        if not counts[best]:
            return
        left_over |= {prefix + name: value for name, value in names.items() if not name.startswith(best)}
        names = {n.removeprefix(best): value for n, value in names.items() if n.startswith(best)}
        prefix += best


def _wrapped(module: nn.Module) -> nn.Module | None:
    if type(module).__module__.partition(".")[0] not in ("torch", "sinabs"):
        return None
    return module._modules.get(_INNER.get(type(module).__name__, ""))


def _state_names(owner: nn.Module) -> set[str]:
    """Names of sinabs' potentials and currents; their shapes follow what ran last."""
    return {
        f"{path}.{name}" if path else name
        for path, entry in owner.named_modules()
        if any(kind.__name__ == "StatefulLayer" for kind in type(entry).__mro__)
        for name in _STATES
        if name in entry._buffers
    }


def _shape(value: object) -> str:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    if nn.parameter.is_lazy(value):
        return "not known yet"
    return f"({', '.join(map(str, value.shape))})"


def _findings(fit: _Fit, where: str) -> Iterator[Finding]:
    """Everything that the file and the module do not share, with names and shapes."""
    kind, step = type(fit.owner).__name__, "Give the weights of this very module, whole"
    if names := fit.missing:
        listed = ", ".join(f"{name} {_shape(fit.own[name])}" for name in names)
        problem = f"lacks {len(names)} of the {counted(len(fit.own), 'tensor')} of {kind}: {listed}"
        yield Finding(where, problem, next_step=step)
    if entries := fit.unexpected:
        listed = ", ".join(f"{name} {_shape(value)}" for name, value in entries.items())
        yield Finding(
            where,
            f"holds {counted(len(entries), 'entry', 'entries')} that {kind} has not: {listed}",
            next_step=step,
        )
    if names := fit.misshapen:
        listed = ", ".join(f"{n} {_shape(fit.given[n])}, in {kind} {_shape(fit.own[n])}" for n in names)
        yield Finding(where, f"holds {len(names)} of another shape: {listed}", next_step=step)
    alike = [name for name in fit.common if name not in fit.misshapen]
    usable = [name for name in alike if _convertible(fit.given[name], fit.own[name])]
    if names := tuple(name for name in alike if name not in usable):
        listed = ", ".join(f"{n} {_type(fit.given[n])}, in {kind} {_type(fit.own[n])}" for n in names)
        problem = f"holds {len(names)} of a type that loses values or cannot be set: {listed}"
        yield Finding(where, problem, next_step="Save and build the module with plain tensors on the CPU")
    tied: dict[int, list[str]] = defaultdict(list)
    for name in usable:
        tied[id(fit.own[name])].append(name)
    for names in map(tuple, tied.values()):
        values = [fit.given[name].to(fit.own[name].dtype) for name in names]
        if any(not torch.equal(values[0], value) for value in values[1:]):
            yield Finding(where, f"holds different values for one tensor of {kind}: {', '.join(names)}")


def _convertible(value: object, own: object) -> bool:
    """Whether a value of the file can be set in the module's type without losing more than digits."""
    if not isinstance(value, torch.Tensor) or not isinstance(own, torch.Tensor):
        return False
    is_plain = all(t.layout == torch.strided and not t.is_quantized and not t.is_meta for t in (value, own))
    return is_plain and torch.can_cast(value.dtype, own.dtype)


def _type(value: object) -> str:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    kind = str(value.dtype).removeprefix("torch.")
    return f"{kind} without values" if value.is_meta else kind


def _readings(fit: _Fit, where: str) -> tuple[Reading, ...]:
    readings = []
    if fit.prefix:
        taken = f'names without the prefix "{fit.prefix}"'
        readings.append(Reading(where, taken, f"all {len(fit.given)} have it, and the module's have not"))
    cast = [name for name in fit.common if fit.given[name].dtype != fit.own[name].dtype]
    told = [
        Reading(name, f"{_type(fit.given[name])} of {where} as {_type(fit.own[name])}", "the module's type")
        for name in cast
    ]
    readings += gathered(told)
    if fit.states:
        taken, why = (
            "neurons start at rest",
            f"{counted(len(fit.states), 'state of a run is', 'states of a run are')} left out",
        )
        readings.append(Reading(where, taken, f"{why}: {', '.join(fit.states)}"))
    return tuple(readings)


@contextmanager
def _replaced(fit: _Fit) -> Iterator[None]:
    """The module's tensors hold the file's values inside.

    The tensors stay the same objects, so that whoever else holds one reads the new values; their old memory
    is set aside and not written to.
    """
    kept = [(fit.own[name], fit.own[name].data) for name in fit.common]
    try:
        with torch.no_grad():
            for name in fit.common:
                own = fit.own[name]
                own.data = fit.given[name].detach().to(own.device, own.dtype).contiguous()
        yield
    finally:
        for tensor, data in kept:
            tensor.data = data
