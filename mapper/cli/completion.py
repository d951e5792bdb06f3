"""What shells complete: the script of each, and values that are looked up while somebody types."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cyclopts import App
    from cyclopts.completion import CompletionContext

__all__ = ["CALLED_BACK", "Shell", "chips", "networks", "rules", "samples", "script", "words"]

CALLED_BACK = "__complete"
"""The command that the scripts call for such values."""

Shell: TypeAlias = Literal["bash", "zsh", "fish"]

# A file of that name would do without; under another one it defines the function and does not call it.
_LOADED = """
if (( ${+compstate} )); then
  _cyclopts_mapper "$@"
else
  compdef _cyclopts_mapper mapper
fi
"""


def script(app: App, shell: Shell) -> str:
    """The completion script of a shell: to be read by it, or of zsh on its `fpath` under any name."""
    return app.generate_completion(shell=shell) + (_LOADED if shell == "zsh" else "")


def chips(context: CompletionContext) -> dict[str, str]:
    """Chips and devices, and chip files."""
    from hwspec.catalog import load, names  # noqa: PLC0415

    specs = [load(name) for name in names()]
    known = {spec.name: spec.title for spec in specs}
    known |= {device: f"board with {spec.name}" for spec in specs for device in spec.devices}
    return known | _files(context.incomplete, (".toml",))


def rules(_: CompletionContext) -> dict[str, str]:
    """Codes of rules with their titles."""
    from mapper.rules import Rule  # noqa: PLC0415

    return {rule.code: rule.value.title for rule in sorted(Rule, key=lambda rule: rule.code)}


def networks(context: CompletionContext) -> dict[str, str]:
    """The shipped network, network files, and what files of code offer; none of it is run."""
    from mapper.frontends import NETWORK_SUFFIXES, SHIPPED  # noqa: PLC0415
    from mapper.frontends.outline import offered_names  # noqa: PLC0415

    home, colon, _ = context.incomplete.rpartition(":")
    if colon and home.endswith(".py"):
        try:
            return {f"{home}:{name}": "" for name in offered_names(Path(home))}
        except (OSError, ValueError):
            return {}
    shipped = {SHIPPED: "a small network that comes with the package"}
    return shipped | _files(context.incomplete, (*NETWORK_SUFFIXES, ".py"))


def samples(context: CompletionContext) -> dict[str, str]:
    """The shipped samples, and files of samples."""
    from mapper.equivalence.labelled import DIGITS  # noqa: PLC0415

    return dict.fromkeys(DIGITS, "images that come with the package") | _files(context.incomplete, (".npz",))


def words(*known: str) -> Callable[[CompletionContext], Sequence[str]]:
    """A few words of a value that may be something else."""

    def offered(_: CompletionContext) -> Sequence[str]:
        return known

    return offered


def _files(begun: str, suffixes: Iterable[str]) -> dict[str, str]:
    """Files of these kinds and folders whose paths begin so, as far as the next folder."""
    folder, _, start = begun.rpartition("/")
    found = {}
    try:
        entries = sorted(os.scandir(f"{folder}/" if "/" in begun else "."), key=lambda entry: entry.name)
    except OSError:
        return {}
    for entry in entries:
        path = f"{begun[: len(begun) - len(start)]}{entry.name}"
        is_hidden = entry.name.startswith(".") and not start.startswith(".")
        if entry.name.startswith(start) and not is_hidden:
            if entry.is_dir():
                found[f"{path}/"] = ""
            elif Path(entry.name).suffix.lower() in suffixes:
                found[path] = ""
    return found
