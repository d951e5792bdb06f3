"""What in a module may make it compute something else than its classes do."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mapper.frontends.from_torch.computed_weights import is_known_hook
from mapper.frontends.from_torch.trace import known_class

__all__ = ["suspects"]

_TOLD_MAX = 3
_MADE_ANEW = (
    "has init_hidden=False, so that forward makes its membrane anew at every call, and a core keeps its own: "
    "write Leaky(beta=1.0, init_hidden=True) and leave the membranes out of forward"
)


def suspects(root: nn.Module, near: Sequence[str]) -> list[str]:
    """Hooks, forwards and states that are not a module's own, as clauses; those of `near` modules first."""
    found: list[tuple[bool, str]] = []
    for path, module in root.named_modules():
        where = path or "the module"
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        if any(not is_known_hook(hook) for hook in hooks):
            found.append((path not in near, f"{where} has forward hooks, which are not read"))
        if "forward" in vars(module):
            found.append((path not in near, f"{where} has a forward of its own, in place of its class's"))
        if _is_without_state(module):
            found.append((path not in near, f"{where} {_MADE_ANEW}"))
    return [text for _, text in sorted(found, key=lambda entry: entry[0])[:_TOLD_MAX]]


def _is_without_state(module: nn.Module) -> bool:
    """Whether neurons of snnTorch are given their potentials by `forward`."""
    known = known_class(module)
    if known is None or known.__module__.partition(".")[0] != "snntorch":
        return False
    return getattr(module, "init_hidden", None) is False
