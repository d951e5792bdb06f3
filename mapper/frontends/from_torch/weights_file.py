"""State dicts from files. Nothing in a file is run: what is more than tensors is refused."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from mapper.asking import WEIGHTS
from mapper.errors import BackendMissingError, Finding, NetworkError, unreadable
from mapper.reading import Reading
from mapper.texts import irregular

__all__ = ["read_state_dict"]

_BYTES_MAX = 4 << 30
# Under which training scripts keep a state dict beside other things.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module")
_NESTED_MAX = 4
_HOW_TO_SAVE = "Save it with torch.save(module.state_dict(), FILE)"


def read_state_dict(path: Path) -> tuple[dict[str, Any], tuple[Reading, ...]]:
    """The entries of a state dict by name, most of them tensors, and what was opened to get there.

    Raises
    ------
    NetworkError
        The file cannot be read, holds code, or no state dict.
    BackendMissingError
        A .safetensors file, and the package that reads it is not installed.
    """
    where = f"weights {path}"
    try:
        problem, size = irregular(path), path.stat().st_size
    except OSError as error:
        raise NetworkError(Finding(where, unreadable(error))) from None
    if problem is not None:
        raise NetworkError(Finding(where, problem))
    if size > _BYTES_MAX:
        raise NetworkError(Finding(where, "file too large", size, _BYTES_MAX, "bytes"))
    is_safetensors = path.suffix.lower() == ".safetensors"
    content: Any = _safetensors(path, where) if is_safetensors else _pickled(path, where)
    readings: list[Reading] = []
    for _ in range(_NESTED_MAX):
        if not isinstance(content, Mapping):
            problem = f"holds a {type(content).__name__}, not a state dict"
            raise NetworkError(Finding(where, problem, next_step=_HOW_TO_SAVE))
        key = _wrapper(content, where)
        if key is None:
            break
        others = ", ".join(str(name) for name in content if name != key)
        why = f"beside it the file holds {others}" if others else "the file holds nothing else"
        # Without its folder: what is read is the same wherever the file lies.
        readings.append(Reading(f"weights {path.name}", f'the state dict under its key "{key}"', why))
        content = content[key]
    return {str(name): value for name, value in content.items()}, tuple(readings)


def _safetensors(path: Path, where: str) -> object:
    try:
        library = import_module("safetensors.torch")
    except ImportError:
        step = f"pip install safetensors, or a file of torch: {_HOW_TO_SAVE}"
        raise BackendMissingError("safetensors", f"{WEIGHTS} {path}", step) from None
    try:
        return library.load_file(str(path), device="cpu")
    except Exception as error:  # the library's own errors have no common class
        text = " ".join(str(error).split())[:200]
        raise NetworkError(Finding(where, f"cannot be read as safetensors: {text}")) from None


def _pickled(path: Path, where: str) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a broken pickle raises has no limits
        text = " ".join(str(error).split())
    # The library's message advises to run the code, which is no way out for a file from elsewhere.
    if named := re.search(r"GLOBAL ([\w.]+)", text):
        problem = f"holds code besides tensors ({named[1]}), which is not run"
        raise NetworkError(Finding(where, problem, next_step=f"{_HOW_TO_SAVE} where it was made"))
    if "TorchScript" in text:
        step = f"{_HOW_TO_SAVE} of torch.jit.load(FILE)"
        raise NetworkError(Finding(where, "is a TorchScript program, which is not run", next_step=step))
    problem = "cannot be read as a file of torch.save"
    raise NetworkError(Finding(where, problem, next_step=_HOW_TO_SAVE))


def _wrapper(content: Mapping[Any, Any], where: str) -> Any:
    """The key under which the state dict stands, or None if this is one."""
    if any(isinstance(value, torch.Tensor) for value in content.values()):
        return None
    inner = [key for key, value in content.items() if isinstance(value, Mapping)]
    known = [key for key in inner if key in _WRAPPERS]
    if len(known) == 1:
        return known[0]
    keys = ", ".join(map(str, known or content)) or "no key"
    problem = "holds several state dicts" if known else "holds no tensors under its keys"
    limit = "one of them" if known else f"a state dict, or one under {', '.join(_WRAPPERS)}"
    raise NetworkError(
        Finding(where, problem, keys, limit, next_step=f"{_HOW_TO_SAVE}, the one that is meant")
    )
