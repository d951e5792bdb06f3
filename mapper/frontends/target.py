"""Networks named by Python code: `file.py:factory` and `package.module:factory`."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from difflib import get_close_matches
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from mapper.asking import CHIP, WEIGHTS
from mapper.errors import Finding, MapperError, NetworkError, unreadable
from mapper.frontends.outline import offered_names
from mapper.network import Network
from mapper.texts import irregular, unreachable

__all__ = [
    "code_file",
    "holds_network",
    "is_module",
    "is_nir_graph",
    "is_target",
    "is_weights",
    "loaded_target",
    "no_network",
    "weights_alone",
]

_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
# A path may hold colons of its own: what follows the last one is the name.
_FILE = re.compile(rf"(?P<home>.+\.py):(?P<name>{_NAME})", re.IGNORECASE | re.DOTALL)
# What names a file, and in it nothing, or nothing that is a name: "net.py:", "net.py::make", "net.py:make()".
_FILE_ALONE = re.compile(r"(?P<home>.+?\.py)(?:\W.*)?", re.IGNORECASE | re.DOTALL)
# One letter before the colon is a drive.
_MODULE = re.compile(rf"(?!\w:)(?P<home>{_NAME}):(?P<name>{_NAME})")
# What names of files with a state dict end in.
_WEIGHTS_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
# More names than these are not listed.
_NAMES_MAX = 8


def is_target(text: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a text names Python code and not a file of data.

    Parameters
    ----------
    suffixes
        Of network files: what ends in one of them is a file.
    """
    if _parsed(text) is None or Path(text).suffix.lower() in suffixes:
        return False
    return not os.path.exists(text)


def code_file(text: str) -> Path | None:
    """The Python file that a text names which is no target; None where it names none."""
    if os.path.exists(text):
        return Path(text) if text.lower().endswith(".py") else None
    match = _FILE_ALONE.fullmatch(text)
    return None if match is None else Path(match["home"])


def is_weights(text: str) -> bool:
    """Whether a text names a file of weights, by what it ends in."""
    return Path(text).suffix.lower() in _WEIGHTS_SUFFIXES


def is_module(source: object) -> bool:
    """Whether an object is a torch module, found out without loading torch."""
    names = {(entry.__module__, entry.__name__) for entry in type(source).__mro__}
    return ("torch.nn.modules.module", "Module") in names


def holds_network(source: object) -> bool:
    """Whether an object is a module of this package, which holds a network that has been read."""
    return getattr(type(source), "holds_network", False) is True


def weights_alone(source: object) -> str:
    """What to do with a state dict in a network's place, as a sentence; "" where it is none."""
    entries = [*source.values()] if isinstance(source, Mapping) else []
    # Training scripts keep one beside other things.
    entries += [part for entry in entries if isinstance(entry, Mapping) for part in entry.values()]
    if not any(hasattr(entry, "shape") for entry in entries):
        return ""
    step = "give the module that they belong to, after module.load_state_dict(weights)"
    return f"It holds weights, and no network: {step}"


def is_nir_graph(source: object) -> bool:
    """Whether an object has the two fields a NIR graph is read from."""
    return isinstance(getattr(source, "nodes", None), dict) and hasattr(source, "edges")


def no_network(source: str, shipped: str, suffixes: tuple[str, ...]) -> Finding:
    """What to say of a text that names no network: what may have been meant.

    Parameters
    ----------
    shipped
        Name of the network that comes with the package.
    suffixes
        Of network files.
    """
    from hwspec.catalog import is_name  # noqa: PLC0415  # loads pydantic

    if (code := code_file(source)) is not None:
        return _file_alone(source, code)
    if source and os.path.isdir(source):
        return Finding(source, irregular(Path(source)) or "is a folder")
    if is_weights(source):
        step = f"Name the module, as net.py:Net, with {WEIGHTS.to(source)}"
        return Finding(source, "is a file of weights, and no network", next_step=step)
    if is_name(source):
        return Finding(source, "is a chip", next_step=f"Give it as one: {CHIP.to(source)}")
    hint = f'Did you mean "{shipped}"? ' if get_close_matches(source, [shipped]) else ""
    step = (
        f'{hint}The one network that comes with the package is "{shipped}"; Python code is '
        "file.py:factory or package.module:factory"
    )
    limit = f"a path that ends in {', '.join(suffixes)}"
    return Finding(source or '""', "not a network file", None, limit, next_step=step)


def _file_alone(source: str, path: Path) -> Finding:
    """What to say of a Python file without a name in it: the names it offers; it is not run.

    Parameters
    ----------
    source
        What was typed, of which `path` is the file.
    """
    where = str(path)
    try:
        names = offered_names(path)
    except OSError as error:
        return Finding(source, unreadable(error))
    except ValueError as error:
        return Finding(source, str(error))
    problem = "is Python code, and does not say what in it gives the network"
    wanted = source.removeprefix(where).strip(":()[]. ")
    return Finding(source, problem, next_step=_did_you_mean(where, _nearest_first(wanted, names)))


@contextmanager
def loaded_target(target: str) -> Iterator[object]:
    """What a target names: a torch module, a NIR graph or a `Network`, or what its factory returns.

    A file is loaded under a name that no other module has, and anew each time. Inside, modules beside the
    file can be imported, and from the current directory; outside, what was imported from beside the file is
    forgotten, so that a file in another folder has its own. What the code prints goes to standard error.

    Raises
    ------
    NetworkError
        The code, the name in it or the factory fails, or gives something else.
    """
    parsed = _parsed(target)
    if parsed is None:
        raise NetworkError(Finding(target, "names no Python code", limit="file.py:factory"))
    home, name, is_file = parsed
    path = Path(home).absolute()
    if is_file and not os.path.isfile(path):
        problem = unreachable(Path(home)) or irregular(path) or "is no file"
        # A file that may be meant is asked about with the name in it.
        raise NetworkError(Finding(target, re.sub(r"\?$", f":{name}?", problem)))
    folder = path.parent if is_file else None
    with _importable(folder), redirect_stdout(sys.stderr):
        yield _loaded(target, path if is_file else home, name)


def _parsed(text: str) -> tuple[str, str, bool] | None:
    """File or module, the name in it, and whether it is a file."""
    found = _FILE.fullmatch(text)
    match = found or _MODULE.fullmatch(text)
    return None if match is None else (match["home"], match["name"], found is not None)


def _loaded(target: str, home: Path | str, name: str) -> object:
    module: ModuleType | None = None
    loaded: Any = None
    try:
        loaded = module = _file_module(home) if isinstance(home, Path) else importlib.import_module(home)
        for part in name.split("."):
            loaded = getattr(loaded, part)
        if not _usable(loaded) and callable(loaded):
            loaded = loaded()
    except (MapperError, KeyboardInterrupt):
        raise
    # Whatever it is, and sys.exit too, it is the user's code that raised it.
    except BaseException as error:
        _refuse(target, home, module, loaded, error)
    if not _usable(loaded):
        step = "Return a torch module, a NIR graph or a mapper.Network"
        raise NetworkError(Finding(target, "gives no network", type(loaded).__name__, next_step=step))
    return loaded


class _Uncached(SourceFileLoader):
    """Compiles a file each time: a file may change twice in a second, which the cache would not see."""

    def path_stats(self, path: object) -> NoReturn:
        raise OSError(f"{path} is not to be cached")


def _file_module(path: Path) -> ModuleType:
    name = f"mapper_target_{hashlib.sha256(str(path).encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
    spec = spec_from_file_location(name, path, loader=_Uncached(name, str(path)))
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = module_from_spec(spec)
    # Dataclasses look their module up while they are made.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _importable(folder: Path | None) -> Iterator[None]:
    """A file's folder and the current directory on the path; what a file imported from there goes again."""
    before = set(sys.modules)
    folders = [entry for entry in (folder, Path.cwd()) if entry is not None]
    added = [str(entry) for entry in folders]
    sys.path[:0] = added
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for entry in added:
            if entry in sys.path:
                sys.path.remove(entry)
        if folder is not None:
            own = [entry for entry in folders if str(entry) not in _libraries()]
            tops = {name for name in set(sys.modules) - before if _lies_in(name, own)}
            for name in set(sys.modules) - before:
                if name.partition(".")[0] in tops:
                    del sys.modules[name]


def _lies_in(name: str, folders: list[Path]) -> bool:
    """Whether a module is a file or package right in a folder: an environment below it is neither."""
    spec: ModuleSpec | None = getattr(sys.modules[name], "__spec__", None)
    if "." in name or spec is None or isinstance(spec.loader, _Uncached):
        return False
    places = list(spec.submodule_search_locations or ()) or [spec.origin or ""]
    return any(Path(place).parent in folders for place in places)


def _libraries() -> set[str]:
    return {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def _usable(source: object) -> bool:
    if isinstance(source, type):
        return False
    return isinstance(source, Network) or is_module(source) or is_nir_graph(source)


def _refuse(
    target: str, home: Path | str, module: ModuleType | None, loaded: object, error: BaseException
) -> NoReturn:
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    text = " ".join(said.split())[:300]
    if module is not None and isinstance(home, Path):
        text = text.replace(module.__name__, home.name)
    place = _place(error)
    problem = f"{type(error).__name__}: {text}"
    step = ""
    named, _, name = target.rpartition(":")
    if place:
        problem += f" ({place})"
        if isinstance(home, Path) and "relative import" in text:
            step = _in_package(home, name)
    elif isinstance(error, AttributeError) and module is not None:
        step = _did_you_mean(named, _nearest_first(name, _offered(module)))
    elif callable(loaded):
        problem += f" ({defined})" if (defined := _definition(loaded)) else ""
        step = f"It is called without arguments: name a function that returns {name}(...), or a module"
    else:
        step = "The form is file.py:factory or package.module:factory"
    raise NetworkError(Finding(target, problem, next_step=step)) from error


def _in_package(path: Path, name: str) -> str:
    """How to name something in a file that imports relatively."""
    top = path.parent
    while (top.parent / "__init__.py").is_file():
        top = top.parent
    dotted = ".".join(path.relative_to(top.parent).with_suffix("").parts)
    return f"A file alone has no package: in the folder {top.parent}, name it {dotted}:{name}"


def _offered(module: ModuleType) -> tuple[str, ...]:
    try:
        return offered_names(Path(module.__file__ or ""))
    except (OSError, ValueError):
        return ()


def _nearest_first(name: str, offered: tuple[str, ...]) -> tuple[str, ...]:
    close = get_close_matches(name, offered)
    return (*close, *(entry for entry in offered if entry not in close))


def _did_you_mean(home: str, names: tuple[str, ...]) -> str:
    if not names:
        return f"Name it: {home}:NAME, a module, or a callable without arguments that gives one"
    more = f", or one of {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else ""
    return f"Did you mean {' or '.join(f'{home}:{name}' for name in names[:_NAMES_MAX])}{more}?"


def _place(error: BaseException) -> str:
    """File and line of the user's own code where an error arose: not of a library that it calls."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{error.filename}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_outside(frame.filename)]
    own = [f for f in frames if not any(Path(f.filename).is_relative_to(place) for place in _libraries())]
    # A package that is installed may be what the user named.
    last = next(reversed(own or frames), None)
    return f"{last.filename}, line {last.lineno}" if last is not None else ""


def _is_outside(filename: str) -> bool:
    """Whether code is neither this package's nor the import system's."""
    is_import = filename.startswith("<") or Path(filename).is_relative_to(Path(importlib.__file__).parent)
    return not is_import and not Path(filename).is_relative_to(Path(__file__).parents[1])


def _definition(called: object) -> str:
    """Where a callable is defined, if it is a function or a class of Python."""
    made = getattr(called, "__init__", None) if isinstance(called, type) else called
    code = getattr(inspect.unwrap(made) if callable(made) else None, "__code__", None)
    return f"{code.co_filename}, line {code.co_firstlineno}" if code is not None else ""
