"""What an argument may be, by its annotation: whether a value is of that kind, and what such are called."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from functools import partial
from operator import contains, index
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from hwspec.errors import Finding
from hwspec.inert import quoted

__all__ = [
    "ARRAY", "Form", "Kind", "as_number", "form_of", "is_array", "is_whole", "named", "of_map", "own_class",
    "said", "whole",
]  # fmt: skip

_COUNTS = {1: "one", 2: "two", 3: "three", 4: "four"}
# Arguments that are called so are shapes of maps, whose sides are three; what stands before them in arrays.
_SHAPES, _SIDES, _BEFORE = ("shape", "input_shape"), 3, ("the batch", "batch and time")
# What is allowed of an argument that is called so, everywhere.
_ALLOWED: Mapping[str, str] = {
    **dict.fromkeys(_SHAPES, "(features, height, width)"),
    **dict.fromkeys(("chip", "device_type"), 'a name as "speck2f"'),
}
_PACKAGES = ("mapper", "hwspec")


class _Said(reprlib.Repr):
    """Plain values as Python writes them; of others their type, since their own words may fill pages."""

    def repr_str(self, x: str, level: int) -> str:
        return quoted(x)

    def repr_int(self, x: int, level: int) -> str:
        return quoted(x)

    def repr_instance(self, x: object, level: int) -> str:
        if isinstance(x, tuple):
            return self.repr_tuple(tuple(x), level)
        plain = isinstance(x, float | complex | bool | bytes | PathLike | NoneType)
        return repr(x) if plain else f"<{type(x).__name__}>"


_said = _Said()
_said.maxother = 70


def said(value: object) -> str:
    """A value as a message about an argument shows it."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    text = _said.repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@dataclass(frozen=True, slots=True)
class Kind:
    """What one annotation stands for.

    Attributes
    ----------
    words
        What it is called: "a whole number".
    fits
        Whether a value is one.
    way_out
        How to get one, as a sentence; "" where that goes without saying.
    several
        What more of them are called; "" for `words`.
    plain
        A value that fits as Python's own types have it; None where each stays what it is.
    keeps
        Where some change, whether one fits and is plain already, by a look.
    allowed
        What more is to be said of it, with an example.
    choices
        Of values to choose from, all, as Python writes them.
    types
        All values of exactly these types fit.
    instead
        Of a value of another kind, what is to be done with it, as a sentence; "" where nobody knows.
    """

    words: str
    fits: Callable[[Any], bool]
    way_out: str = ""
    several: str = ""
    plain: Callable[[Any], Any] | None = None
    keeps: Callable[[Any], bool] = lambda _: False
    allowed: str = ""
    choices: tuple[str, ...] = ()
    types: frozenset[type] = frozenset()
    instead: Callable[[Any], str] = lambda _: ""


@dataclass(frozen=True, slots=True)
class Form:
    """What an argument may be: any of some kinds; all values of exactly these types fit."""

    kinds: tuple[Kind, ...]
    types: frozenset[type]

    def fits(self, value: object) -> bool:
        """Whether a value is of one of the kinds."""
        return any(kind.fits(value) for kind in self.kinds)

    def keeps(self, value: object) -> bool:
        """Whether a value fits and stays what it is, as one of the kinds has it."""
        return any((kind.fits if kind.plain is None else kind.keeps)(value) for kind in self.kinds)

    def plain(self, value: object) -> object:
        """A value that fits as Python's own types have it, unless one of the kinds leaves it as it is."""
        if self.keeps(value):
            return value
        made = (kind.plain for kind in self.kinds if kind.plain and kind.fits(value))
        return next((plain(value) for plain in made), value)

    @property
    def changes(self) -> bool:
        """Whether some value that fits becomes another."""
        return any(kind.plain for kind in self.kinds)

    @property
    def words(self) -> str:
        """All kinds: "a path, a mapping or None"."""
        words = list(dict.fromkeys(word for kind in self.kinds for word in kind.choices or (kind.words,)))
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"

    @property
    def several(self) -> str:
        """What more of them are called."""
        return " or ".join(dict.fromkeys(kind.several or kind.words for kind in self.kinds))

    def finding(self, name: str, value: object) -> Finding:
        """What is wrong with a value of an argument."""
        steps = [kind.way_out for kind in self.kinds if kind.way_out]
        choices = [word for kind in self.kinds for word in kind.choices]
        if isinstance(value, str) and (close := get_close_matches(f'"{value}"', choices, n=1)):
            steps = [f"Did you mean {close[0]}?"]
        ways = [*(kind.instead(value) for kind in self.kinds), _unquoted(self, {name: value})]
        instead = next(filter(None, ways), "")
        if instead or (name in _SHAPES and (instead := of_map(value, f"{name}="))):
            steps = [instead]
        allowed = "".join(kind.allowed for kind in self.kinds) or _ALLOWED.get(name)
        return Finding(name, f"must be {self.words}", said(value), allowed, next_step=". ".join(steps))


def of_map(value: Any, written: str) -> str:
    """How the shape of one map is given, if a value is a batch or its shape, or a map itself; else "".

    Parameters
    ----------
    written
        How a shape is written, before its sides: "input_shape=".
    """
    is_map = getattr(value, "ndim", 1) > 1
    given = value.shape if is_map else value
    sizes = [whole(size) for size in given] if _is_listed(given) and not isinstance(given, Iterator) else []
    behind = len(sizes) - _SIDES
    if None in sizes or not (0 if is_map else 1) <= behind <= len(_BEFORE):
        return ""
    shape = f"{written}{tuple(sizes[behind:])}"
    if not behind:
        return f"Give its shape: {shape}"
    return f"Leave {_BEFORE[behind - 1]} out: {shape}, which is tuple(x.shape[{behind}:])"


def whole(value: object) -> int | None:
    """A number without fraction, of any library and type, as an integer; None of all else."""
    if type(value) is int:
        return value
    found = as_number(value)
    return int(found) if isinstance(found, int) or (found is not None and found.is_integer()) else None


def is_whole(value: object) -> bool:
    """Whether a value is a number without fraction, of any library and type; truth values are none."""
    return whole(value) is not None


def as_number(value: Any) -> int | float | None:
    """One number of any library, an integer if its type is of such; None of truth values and all else."""
    is_listed = getattr(value, "ndim", 0) or getattr(getattr(value, "dtype", None), "kind", "f") not in "iufO"
    if is_listed or isinstance(value, str | bytes) or _is_flag(value):
        return None
    try:
        return index(value)
    except TypeError:
        pass
    try:
        # Rationals and decimals may have more digits than a float.
        return int(value) if isinstance(value, Fraction | Decimal) and value == int(value) else float(value)
    except (TypeError, ValueError, ArithmeticError, RuntimeError):
        # An infinite decimal is no integer.
        return float(value) if isinstance(value, Decimal) else None


def _is_number(value: object) -> bool:
    return as_number(value) is not None


def _is_flag(value: object) -> bool:
    """Whether a value is True or False, NumPy's among them, without NumPy."""
    kind = type(value)
    return kind is bool or (kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_"))


def is_array(value: object) -> bool:
    """Whether arrays can be made of a value."""
    return hasattr(value, "__array__") or isinstance(value, list | tuple)


def _is_listed(value: object) -> bool:
    """Whether a value has entries, and is neither text nor a mapping."""
    is_one = isinstance(value, str | bytes | Mapping) or getattr(value, "ndim", 1) == 0
    return hasattr(value, "__iter__") and not is_one


def own_class(name: str, way_out: str = "", several: str = "") -> Kind:
    """Values of a class of the project by that name, which need not be loaded."""

    def fits(value: object) -> bool:
        return any(
            cls.__name__ == name and cls.__module__.partition(".")[0] in _PACKAGES
            for cls in type(value).__mro__
        )

    return _class_named(name, fits, way_out, several)


def _class_named(name: str, fits: Callable[[object], bool], way_out: str = "", several: str = "") -> Kind:
    article = "an" if name[0] in "AEIOU" else "a"
    return Kind(f"{article} {name}", fits, way_out, several or f"{name}s")


class _Named:
    """What a name in an annotation stands for, where annotations want a class."""

    stands_for: ClassVar[Kind]

    def __class_getitem__(cls, _: object) -> type:
        return cls


def named(name: str, kind: Kind) -> type:
    """A class that an annotation may have in the place of a name."""
    return type(name, (_Named,), {"stands_for": kind})


_PLAIN: Mapping[Any, Kind] = {
    NoneType: Kind("None", lambda value: value is None, types=frozenset({NoneType})),
    int: Kind("a whole number", is_whole, several="whole numbers", plain=whole, types=frozenset({int})),
    float: Kind("a number", _is_number, several="numbers", plain=as_number, types=frozenset({int, float})),
    bool: Kind(
        "True or False",
        _is_flag,
        several="truth values",
        plain=bool,
        choices=("True", "False"),
        types=frozenset({bool}),
    ),
    str: Kind("text", lambda value: isinstance(value, str), types=frozenset({str})),
    Path: Kind("a path", lambda value: isinstance(value, PathLike), several="paths"),
}
ARRAY = Kind("an array", is_array, several="arrays")


def form_of(hint: Any) -> Form | None:
    """The form of an annotation; None where anything will do, or nobody can say."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    # Whole numbers are numbers.
    kinds = [_kind_of(part) for part in parts if not (part is int and float in parts)]
    if None in kinds:
        return None
    found = tuple(filter(None, kinds))
    return Form(found, frozenset[type]().union(*(kind.types for kind in found)))


def _kind_of(hint: Any) -> Kind | None:
    if isinstance(hint, type) and issubclass(hint, _Named):
        return hint.stands_for
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        choices = tuple(f'"{word}"' if isinstance(word, str) else repr(word) for word in parts)
        return Kind(
            " or ".join(choices), lambda word: isinstance(word, str) and word in parts, choices=choices
        )
    container = origin or hint
    if container is Any or isinstance(container, TypeVar) or container is object:
        return None
    if not isinstance(container, type):
        return _callable_kind() if container is Callable else None
    return _class_kind(container, parts)


def _callable_kind() -> Kind:
    return Kind("a function", callable, several="functions")


def _class_kind(container: type, parts: tuple[Any, ...]) -> Kind | None:
    if getattr(container, "_is_protocol", False) and container.__module__.partition(".")[0] in _PACKAGES:
        return None
    if container.__name__ == "Callable":
        return _callable_kind()
    if issubclass(container, Mapping | dict):
        return _mapping_kind(parts)
    if container.__name__ == "ndarray":
        return ARRAY
    if container is tuple and parts and Ellipsis not in parts:
        return _tuple_kind(parts)
    if container in (tuple, list, set, frozenset) or container.__module__ == "collections.abc":
        return _list_kind(parts)
    kind = _class_named(container.__name__, lambda value: isinstance(value, container))
    return replace(kind, types=frozenset({container}))


def _mapping_kind(parts: tuple[Any, ...]) -> Kind:
    key, value = (form_of(part) for part in parts) if len(parts) == 2 else (None, None)

    def fits(given: Any) -> bool:
        if not isinstance(given, Mapping) and not (hasattr(given, "keys") and hasattr(given, "__getitem__")):
            return False
        return _all_fit(key, given.keys()) and (value is None or _all_fit(value, given.values()))

    def plain(given: Any) -> Any:
        return dict(zip(given.keys(), map(value.plain, given.values()), strict=True)) if value else given

    of = f" of {key.several if key else 'names'} to {value.several if value else 'values'}"
    step = 'Give {"NAME": ...}' if key is not None and key.fits("") else ""
    way = plain if value and value.changes else None
    return Kind(f"a mapping{of}", fits, step, plain=way, instead=partial(_unquoted, value))


def _unquoted(form: Form | None, given: object) -> str:
    """How a number is written that a mapping has in quotes, as a sentence; "" where it has none."""
    texts = [text for text in given.values() if isinstance(text, str)] if isinstance(given, Mapping) else []
    numbers = [int(text) for text in texts if text.isdecimal() and len(text) < 19]
    odd = (n for n in numbers if form and form.fits(n) and not form.fits(str(n)))
    return next((f'Write {n}, not "{n}"' for n in odd), "")


def _all_fit(form: Form | None, entries: Iterable[object]) -> bool:
    return form is None or all(type(entry) in form.types or form.fits(entry) for entry in entries)


def _list_kind(parts: tuple[Any, ...]) -> Kind:
    form = form_of(parts[0]) if parts else None

    def fits(given: Any) -> bool:
        # What ends when it is read is left to whoever reads it. An array without entries is of numbers.
        if hasattr(given, "dtype") and not getattr(given, "size", 0):
            return False
        return (type(given) is tuple and not given) or (
            _is_listed(given) and (isinstance(given, Iterator) or _all_fit(form, given))
        )

    def plain(given: Any) -> Any:
        if form is None or isinstance(given, Iterator):
            return given
        entries = map(form.plain, given)
        return tuple(entries) if isinstance(given, tuple) else list(entries)

    words = f"a list or tuple of {form.several}" if form else "a list or tuple"
    return Kind(words, fits, plain=plain if form and form.changes else None)


def _tuple_kind(parts: tuple[Any, ...]) -> Kind:
    forms = [form_of(part) for part in parts]
    exact = [form.types if form else frozenset[type]() for form in forms]

    def keeps(given: Any) -> bool:
        # A shape stays one.
        is_short = isinstance(given, tuple) and len(given) == len(exact)
        return is_short and all(map(contains, exact, map(type, given)))

    def fits(given: Any) -> bool:
        if not _is_listed(given) or not hasattr(given, "__len__"):
            return isinstance(given, Iterator)
        return len(given) == len(forms) and all(map(_all_fit, forms, ([entry] for entry in given)))

    def plain(given: Any) -> Any:
        if isinstance(given, Iterator):
            return given
        return tuple(form.plain(entry) if form else entry for form, entry in zip(forms, given, strict=True))

    words = list(dict.fromkeys(form.several if form else "values" for form in forms))
    count = _COUNTS.get(len(forms), str(len(forms)))
    listed = f"({', '.join(f.words if f else '...' for f in forms)})"
    return Kind(f"{count} {words[0]}" if len(words) == 1 else listed, fits, plain=plain, keeps=keeps)
