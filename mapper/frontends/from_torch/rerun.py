"""A copy of a module that runs while the user's own stays as it is, watched where its neurons are called."""

from __future__ import annotations

import copy
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mapper.frontends.from_torch.trace import known_class, unchanged

__all__ = ["Call", "Rerun", "untouched"]

_SEED = 20_211
# By package, the method that sets a neuron's state back.
_RESETS = {"sinabs": "reset_states", "spikingjelly": "reset", "snntorch": "reset_mem"}


@dataclass
class Call:
    """What one call of a module's neurons was given and gave, by module path, in order; and its result."""

    came: dict[str, list[torch.Tensor]] = field(default_factory=dict)
    gave: dict[str, list[torch.Tensor]] = field(default_factory=dict)
    result: Any = None


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
        elif isinstance(value, dict):
            yield from _tensors(value.values())


def _held(root: nn.Module) -> list[torch.Tensor]:
    """Every tensor that a module or its parts hold, once each."""
    held = {id(t): t for module in root.modules() for t in _tensors(vars(module).values())}
    return list(held.values())


@contextmanager
def untouched(root: nn.Module) -> Iterator[None]:
    """Whatever runs inside, the module, its states and torch's random numbers are as before outside.

    A copy may still lead to the original: a forward that was replaced on an object calls the old one.
    """
    held = [(tensor, tensor.detach().clone(), tensor._version) for tensor in _held(root)]
    threads = torch.get_num_threads()
    with (
        torch.random.fork_rng(devices=[]),
        torch.no_grad(),
        # What forward itself asks for counts, not what whoever calls this runs under.
        torch.autocast("cpu", enabled=False),
        unchanged(root),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        torch.manual_seed(_SEED)
        # A few small frames: threads that wait for one another take longer than one, much longer under load.
        torch.set_num_threads(1)
        _reset(root)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            for tensor, before, version in held:
                if tensor._version != version:
                    tensor.detach().copy_(before)


def _reset(root: nn.Module) -> None:
    for module in root.modules():
        for entry in type(module).__mro__:
            name = _RESETS.get(str(entry.__module__).partition(".")[0])
            if name and callable(getattr(module, name, None)):
                getattr(module, name)()
                break


def _copied(root: nn.Module) -> nn.Module:
    """A deep copy, hooks and all; what cannot be copied is shared.

    Classes may copy themselves in their own way, as those of sinabs do, and lose what an object was given.
    """
    clones = [(module, object.__new__(type(module))) for module in root.modules()]
    memo: dict[int, Any] = {id(module): clone for module, clone in clones}
    # Tensors that come of a calculation know no deep copy: weights of a weight norm, states in training.
    memo |= {id(tensor): tensor.detach().clone() for tensor in _held(root) if not tensor.is_leaf}
    for module, clone in clones:
        for name, value in vars(module).items():
            # A call of what `module.compile()` made would run the original, past the hooks of the copy.
            if name == "_compiled_call_impl":
                continue
            known = len(memo)
            try:
                vars(clone)[name] = copy.deepcopy(value, memo)
            except Exception:  # the user's objects may hold anything
                for key in [*memo][known:]:
                    del memo[key]
                vars(clone)[name] = value
    return clones[0][1]


class Rerun:
    """A copy of a module in eval mode, with its neurons watched.

    Parameters
    ----------
    dtype
        What the copy computes in; None leaves it as it is.
    paths
        The modules to be watched.

    Attributes
    ----------
    is_autocast
        Whether a module was called under torch.autocast.
    """

    def __init__(self, root: nn.Module, dtype: torch.dtype | None, paths: Iterable[str]) -> None:
        # Forwards that lead back to the original would go on where another copy stopped.
        _reset(root)
        self.module = _copied(root).to(device="cpu", dtype=dtype).eval()
        self.dtype = dtype or _precision(root)
        self.call = Call()
        # By module path, what its one call gives instead of its own result.
        self.instead: Mapping[str, torch.Tensor] = {}
        self.state: tuple[Any, ...] = ()
        self.is_autocast = False
        self.keeps_state = any(
            str((known_class(m) or type(m)).__module__).startswith("norse.") for m in root.modules()
        )
        _reset(self.module)
        if dtype is not None:
            self._cast()
        # Hooks that held this object would keep its copy of all weights until garbage is collected.
        own: Any = weakref.proxy(self)

        def note(module: nn.Module, args: Any) -> None:
            own.is_autocast = own.is_autocast or torch.is_autocast_enabled("cpu")

        for module in self.module.modules():
            module.register_forward_pre_hook(note)
        for path in dict.fromkeys(paths):
            self._watch(path)

    def _cast(self) -> None:
        """Let every module with weights get its precision: spikes may come in another, as those of sinabs."""
        dtype = self.dtype

        def cast(module: nn.Module, args: Any) -> Any:
            return tuple(
                value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value
                for value in args
            )

        for module in self.module.modules():
            if module._parameters:
                module.register_forward_pre_hook(cast)

    def _watch(self, path: str) -> None:
        own: Any = weakref.proxy(self)

        def came(module: nn.Module, args: Any, kwargs: Any) -> None:
            own.call.came.setdefault(path, []).append(next(_tensors((args, kwargs))).detach().clone())

        def gave(module: nn.Module, args: Any, result: Any) -> Any:
            tensor = next(_tensors((result,)))
            own.call.gave.setdefault(path, []).append(tensor.detach().clone())
            if path not in own.instead:
                return None
            put = own.instead[path].reshape(tensor.shape).to(tensor.dtype)
            return (put, *result[1:]) if isinstance(result, tuple) else put

        module = self.module.get_submodule(path)
        # Registered last, they see what the user's own hooks leave.
        module.register_forward_pre_hook(came, with_kwargs=True)
        module.register_forward_hook(gave)

    def __call__(self, frames: Sequence[torch.Tensor], instead: Mapping[str, torch.Tensor]) -> Call:
        """Run the module once.

        Parameters
        ----------
        frames
            By parameter of forward, in order.
        instead
            By module path, what its one call gives instead of its own result.
        """
        self.call, self.instead = Call(), instead
        result = self.module(*(frame.to(self.dtype) for frame in frames), *self.state)
        if self.keeps_state and isinstance(result, tuple) and len(result) == 2:
            self.state = (result[1],)
        # Observers of quantisers would move the scale from call to call.
        for module in self.module.modules():
            if callable(stop := getattr(module, "disable_observer", None)):
                stop()
        self.call.result = result
        return self.call


def _precision(root: nn.Module) -> torch.dtype:
    kinds = (t.dtype for t in root.parameters() if t.dtype.is_floating_point)
    return next(kinds, torch.float32)
