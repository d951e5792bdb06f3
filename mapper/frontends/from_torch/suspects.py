"""What in a module may make it compute something else than its classes do."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mapper.frontends.from_torch.computed_weights import is_known_hook

__all__ = ["suspects"]

_TOLD_MAX = 3


def suspects(root: nn.Module, near: Sequence[str]) -> list[str]:
    """Hooks, replaced forwards and observers of a module, as clauses; those of the modules `near` first."""
    found: list[tuple[bool, str]] = []
    for path, module in root.named_modules():
        where = path or "the module"
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        if any(not is_known_hook(hook) for hook in hooks):
            found.append((path not in near, f"{where} has forward hooks, which are not read"))
        if "forward" in vars(module):
            found.append((path not in near, f"{where} has a forward of its own, in place of its class's"))
    return [text for _, text in sorted(found, key=lambda entry: entry[0])[:_TOLD_MAX]]
