"""What shells complete: the script of each, and values that are looked up while somebody types."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cyclopts import App
    from cyclopts.completion import CompletionContext

__all__ = [
    "CALLED_BACK", "Shell", "chips", "networks", "rules", "samples", "script", "unquoted", "words",
]  # fmt: skip

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


# Bash splits words at colons and hands quotes over as they were typed, and readline sets a blank behind
# whatever is whole. Around the parser's own function: words as they were meant, and answers for what readline
# replaces.
_TYPED = r"""
_mapper_files() {
  local path plain
  COMPREPLY=()
  while IFS= read -r path; do
    [[ -d "${path/#\~/$HOME}" ]] && path+=/
    printf -v plain '%q' "$path"
    [[ "$path" == "~"* ]] && plain="~${plain#\\\~}"
    COMPREPLY+=("$plain")
  done < <(compgen -f -- "$1")
}

_mapper_typed() {
  local rest="$COMP_LINE" trimmed word last=-1 at=0 i quote="" colons
  local -a joined=()
  for i in "${!COMP_WORDS[@]}"; do
    word="${COMP_WORDS[i]}"
    trimmed="${rest#"${rest%%[![:space:]]*}"}"
    if ((last >= 0)) && [[ "$trimmed" == "$rest" && ( "$word" == :* || "${joined[last]}" == *: ) ]]; then
      joined[last]+="$word"
    else
      joined[++last]="$word"
    fi
    rest="${trimmed#"$word"}"
    ((i == COMP_CWORD)) && at=$last
  done
  word="${joined[at]}"
  if [[ "$word" == [\"\']* ]]; then
    quote="${word:0:1}"
    word="${word:1}"
  else
    word="${word//\\/}"
  fi
  joined[at]="$word"
  local -a COMP_WORDS=("${joined[@]}")
  local COMP_CWORD=$at
  _mapper
  [[ -n "$quote" || "$COMP_WORDBREAKS" != *:* ]] && word=""
  colons="${word//[^:]/}"
  for i in "${!COMPREPLY[@]}"; do
    word="${COMPREPLY[i]}"
    [[ -n "$quote" ]] && word="${word//\\/}"
    for ((at = 0; at < ${#colons}; at++)); do word="${word#*:}"; done
    COMPREPLY[i]="$word"
  done
  # What a folder holds goes on, and a file of code with the name in it; quotes stay open before files alone.
  if [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" =~ (/|\.py)$ ]]; then
    compopt -o nospace 2>/dev/null
    if [[ -n "$quote" && "${COMPREPLY[0]}" == */ ]] && compopt -o filenames -o noquote 2>/dev/null; then
      COMPREPLY[0]="${COMPREPLY[0]%/}"
    fi
  fi
}

complete -F _mapper_typed mapper
"""


# Zsh sets a blank behind whatever is whole, and quotes the home that is meant.
_OFFERED = r"""
_mapper_offer() {
  local i
  for ((i = 1; i <= ${#_cyc_vals}; i++)); do
    local value="${_cyc_vals[i]}"
    local -a shown=("${_cyc_disp[i]}") open=()
    [[ "$value" == (*/|*.py) ]] && open=(-S "")
    if [[ "$value" == "~"* ]]; then
      compadd -Q "${open[@]}" -d shown -- "~${(q)value#\~}"
    else
      compadd "${open[@]}" -d shown -- "$value"
    fi
  done
}

"""
# By shell, what of the parser's script is put in whose place.
_REPLACED: dict[str, tuple[str, str]] = {
    "bash": ('COMPREPLY=( $(compgen -f -- "${cur}") )', '_mapper_files "${cur}"'),
    "zsh": ("(( ${#_cyc_vals} )) && compadd -d _cyc_disp -a _cyc_vals", "_mapper_offer"),
}
_AROUND = {"bash": ("", _TYPED), "zsh": (_OFFERED, _LOADED)}


def script(app: App, shell: Shell) -> str:
    """The completion script of a shell: to be read by it, or of zsh on its `fpath` under any name."""
    made = app.generate_completion(shell=shell)
    if shell not in _REPLACED:
        return made
    # The first line says to zsh what the file is.
    first, _, rest = made.replace(*_REPLACED[shell]).partition("\n")
    before, behind = _AROUND[shell]
    return f"{first}\n{before}{rest}{behind}"


def unquoted(word: str) -> str:
    """A word that somebody is typing, without the quote that it begins with and without backslashes."""
    return word[1:].removesuffix(word[0]) if word[:1] in ("'", '"') else re.sub(r"\\(.)", r"\1", word)


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
            return {f"{home}:{name}": "" for name in offered_names(Path(home).expanduser())}
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
        home = os.path.expanduser(f"{folder}/") if "/" in begun else "."
        entries = sorted(os.scandir(home), key=lambda entry: entry.name)
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
