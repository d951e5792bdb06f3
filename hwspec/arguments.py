"""What public functions and classes are given, held against their annotations before anything is done.

An annotation says what an argument may be, a `Kind` says it in words, with where to get one. Of classes that
type checkers alone import the name is enough: nothing is loaded to check.
"""

from __future__ import annotations

import builtins
import collections.abc
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property, wraps
from inspect import Parameter, signature
from typing import Any, TypeVar, cast, get_type_hints

from hwspec.errors import Finding
from hwspec.kinds import Form, Kind, form_of, named, own_class

__all__ = ["Checker", "Kind", "unknown_keywords"]

Checkable = TypeVar("Checkable", bound=Callable[..., Any])

_BY_KEYWORD = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
# Enough to recognise the one that was meant.
_PLACES_MAX = 3
_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def unknown_keywords(
    wrong: Collection[str],
    known: Collection[str],
    meant: Callable[[str], str] = lambda _: "",
    places: Callable[[str], Sequence[str]] = lambda _: (),
) -> TypeError:
    """The error of keywords that nothing takes, each with the one that was meant, or with what takes it.

    Parameters
    ----------
    meant
        What a word that is none of these stands for; "" where nobody knows.
    places
        What else takes a keyword, as users call it.
    """
    hints = []
    for name in wrong:
        longer = [entry for entry in sorted(known) if entry.startswith(f"{name}_")]
        close = longer or get_close_matches(name, sorted(known), n=1)
        found = meant(name)
        elsewhere = () if found else places(name)
        found = found or "".join(close[:1])
        told = [f"did you mean {found}?"] if found else []
        told += [f"{name if found else 'it'} is of {_some(elsewhere)}"] if elsewhere else []
        hints.append(f"{name} ({' '.join(told)})" if told else name)
    there_are = f"There are {', '.join(sorted(known))}" if known else "It takes none"
    return TypeError(f"unknown keyword: {', '.join(hints)}. {there_are}")


def _some(places: Sequence[str]) -> str:
    """A few of them, as a list."""
    *others, last = places[:_PLACES_MAX]
    return f"{', '.join(others)} and {last}" if others else last


@dataclass(frozen=True)
class Checker:
    """What holds arguments against annotations, for the functions and classes of a package.

    Attributes
    ----------
    error
        Made of all findings about the arguments of a call.
    kinds
        By name of an annotation, what it stands for, where that is not to be seen from the annotation itself.
    meant, places
        As in `unknown_keywords`; `places` is told the function too.
    """

    error: Callable[..., Exception]
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    meant: Callable[[str], str] = lambda _: ""
    places: Callable[[str, Callable[..., Any]], Sequence[str]] = lambda *_: ()

    def __call__(self, target: Checkable) -> Checkable:
        """A function whose arguments are checked, or a class that is made of checked ones."""
        return self.but()(target)

    def by_name(self, target: Checkable, rest: Callable[..., Any] | None = None) -> Checkable:
        """The same, where keywords alone are checked, and somebody else judges the values."""
        return self.but(*signature(target).parameters, rest=rest)(target)

    def but(self, *apart: str, rest: Callable[..., Any] | None = None) -> Callable[[Checkable], Checkable]:
        """The same, where some arguments need another judge.

        Parameters
        ----------
        apart
            Arguments that the function itself judges; the keywords are known all the same.
        rest
            A function or class whose keywords are keywords too.
        """

        def of(target: Checkable) -> Checkable:
            if isinstance(target, type):
                # A named tuple has no other. Not by `setattr`: a class has no type for such a name.
                maker = "__init__" if "__init__" in vars(target) else "__new__"
                made = vars(target)[maker]
                made = made.__func__ if isinstance(made, staticmethod) else made
                type.__setattr__(target, maker, self._checking(made, apart, rest))
                return target
            return cast(Checkable, self._checking(target, apart, rest))

        return of

    def _checking(
        self, function: Any, apart: Collection[str], rest: Callable[..., Any] | None
    ) -> Callable[..., Any]:
        arguments = _Arguments(self, function, frozenset(apart), rest)

        @wraps(function)
        def checked(*given: Any, **named: Any) -> Any:
            given, named = arguments.held(given, named)
            return function(*given, **named)

        vars(checked)["arguments"] = arguments
        return checked


class _Names(dict[str, Any]):
    """What the names of an annotation stand for: kinds, what its module has, else a class of that name."""

    def __init__(self, kinds: Mapping[str, Kind], module: str) -> None:
        super().__init__()
        self.kinds, self.module = kinds, vars(sys.modules[module])

    def __missing__(self, name: str) -> Any:
        if name not in self.kinds:
            for place in (self.module, vars(builtins), vars(collections.abc)):
                if name in place:
                    return place[name]
        return named(name, self.kinds.get(name) or own_class(name))


@dataclass(frozen=True)
class _Arguments:
    """The arguments of one function."""

    checker: Checker
    function: Callable[..., Any]
    apart: frozenset[str]
    rest: Callable[..., Any] | None

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        return signature(self.function).parameters

    @cached_property
    def positions(self) -> tuple[str, ...]:
        return tuple(name for name, entry in self.parameters.items() if entry.kind in _BY_POSITION)

    @cached_property
    def keywords(self) -> frozenset[str]:
        """All keywords of its own."""
        named = (name for name, entry in self.parameters.items() if entry.kind in _BY_KEYWORD)
        return frozenset(named) - {"self", "_cls"}

    @cached_property
    def known(self) -> frozenset[str]:
        """All keywords there are."""
        own = getattr(self.rest, "arguments", None)
        more = own.known if isinstance(own, _Arguments) else self.rest and signature(self.rest).parameters
        return self.keywords.union(more or ())

    @cached_property
    def takes_any(self) -> bool:
        """Whether something else says which further keywords there are."""
        kinds = (entry.kind for entry in self.parameters.values())
        return self.rest is None and Parameter.VAR_KEYWORD in kinds

    @cached_property
    def forms(self) -> Mapping[str, Form]:
        """What each argument may be."""
        judged = self.keywords - self.apart
        if not judged:
            return {}
        names = _Names(self.checker.kinds, self.function.__module__)
        hints = get_type_hints(self.function, globalns={}, localns=names)
        return {name: form for name in hints if name in judged and (form := form_of(hints[name]))}

    @cached_property
    def by_position(self) -> tuple[Form | None, ...]:
        """What may stand at each position."""
        return tuple(map(self.forms.get, self.positions))

    def held(self, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What a call says by position and by name, once it is known that it can say so.

        Numbers of whatever type are those of Python afterwards; what is whole, as 1e6, is an integer where
        integers are wanted.

        Raises
        ------
        TypeError
            There are no such keywords; each with the one that was meant.
        """
        is_known = self.takes_any or named.keys() <= self.keywords
        if not is_known and (wrong := [name for name in named if name not in self.known]):
            raise unknown_keywords(wrong, self.known, self._meant, self._places)
        if not self.forms:
            return given, named
        # Layers and edges are made by the thousand: a look at the type does for nearly all.
        is_odd = any(_is_odd(form, value) for form, value in zip(self.by_position, given, strict=False))
        if not is_odd and not any(_is_odd(self.forms.get(name), value) for name, value in named.items()):
            return given, named
        if findings := [*self._findings({**dict(zip(self.positions, given, strict=False)), **named})]:
            raise self.checker.error(*findings)
        known = len(self.positions)
        read = (*map(_plain, self.by_position, given), *given[known:])
        return read, {name: _plain(self.forms.get(name), value) for name, value in named.items()}

    def _meant(self, word: str) -> str:
        """What a word stands for here; a field of the class of an argument with that argument."""
        said = self.checker.meant(word)
        keyword = re.match(r"[a-z]\w*", said)
        if keyword:
            return said if keyword[0] in self.known else ""
        owner = said.partition("(")[0]
        takers = (name for name, entry in self.parameters.items() if owner in str(entry.annotation))
        taker = next(takers, "") if owner.isidentifier() else ""
        return f"{taker}={said}" if taker else ("" if owner.isidentifier() else said)

    def _places(self, word: str) -> Sequence[str]:
        return self.checker.places(word, self.function)

    def _findings(self, given: Mapping[str, Any]) -> Iterator[Finding]:
        for name, form in self.forms.items():
            if name in given and _is_odd(form, given[name]) and not form.fits(given[name]):
                yield form.finding(name, given[name])


def _plain(form: Form | None, value: object) -> object:
    return form.plain(value) if form is not None and _is_odd(form, value) else value


def _is_odd(form: Form | None, value: object) -> bool:
    return form is not None and type(value) not in form.types and not form.keeps(value)
