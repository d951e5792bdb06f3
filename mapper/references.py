"""What layers and networks are called: references to layers, keys, natural order, names told apart.

A reference is what a user writes for a layer, alike on the command line, in Python and in files:

- text that is a layer's name is that layer, also where the name is a number, but for a number that was
  `Typed` on a command line and can be another layer's index;
- text ``#3`` (``#-1`` for the last) is an index, and so are a Python integer and other text that is one;
- text ``3 (Conv2d)`` is the layer named 3, as messages show it;
- of several networks, ``network:layer`` and ``network:#3`` say whose layer is meant, and the bare name of a
  layer does where one network alone has it.

What can be two layers is refused, with both meanings and how to write either.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from difflib import get_close_matches
from itertools import chain, count
from operator import index
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from hwspec.errors import Finding
from hwspec.inert import quoted
from mapper.errors import NetworkError, OptionsError, warn_caller
from mapper.wording import untitled

if TYPE_CHECKING:
    from mapper.asking import Option
    from mapper.network import Network

AnyNetwork = TypeVar("AnyNetwork", bound="Network")

__all__ = [
    "LayerReference",
    "Typed",
    "as_index",
    "layer_key",
    "layers_called",
    "locate_layer",
    "locate_signal",
    "named_apart",
    "natural_key",
    "networks_apart",
    "require_distinct",
    "resolve_layer",
    "resolve_reference",
    "signal_title",
    "whole_number",
]

LayerReference: TypeAlias = str | int


class Typed(str):
    """A reference from a command line, where nothing tells a name that is a number from an index."""

    __slots__ = ()


_INDEX = re.compile(r"#?(-?[0-9]{1,18})")
_INDEX_BITS_MAX = 60
_DIGITS = re.compile(r"([0-9]+)")
_LISTED_MAX = 20


def layer_key(networks: Sequence[Network], number: int, name: str) -> str:
    """A layer or input in resolved options: its name, behind its network's if there are several."""
    return name if len(networks) == 1 else f"{networks[number].name}:{name}"


def signal_title(networks: Sequence[Network], number: int, name: str) -> str:
    """A layer or input in sentences: as `layer_key`, and of a name that is a number what it names."""
    return layer_key(networks, number, networks[number].title(name))


def natural_key(name: str) -> tuple[tuple[int, int, str, str], ...]:
    """Sort key under which conv2 stands before conv10; equal only for equal names."""
    parts: list[tuple[int, int, str, str]] = []
    for n, part in enumerate(_DIGITS.split(name)):
        if n % 2:
            # Numbers stand in order of their length and digits; `int` refuses very long ones.
            digits = part.lstrip("0")
            parts.append((0, len(digits), digits, part))
        else:
            parts.append((1, 0, part, ""))
    return (*parts, (2, 0, name, ""))


def named_apart(names: Sequence[str]) -> tuple[str, ...]:
    """Equal names get a number behind them that makes a name no other has, neither given nor made.

    The first of equal names keeps its name: a, a, a-2 become a, a-3, a-2.
    """
    taken, seen, apart = set(names), set[str](), []
    numbers = {name: count(2) for name in taken}
    for name in names:
        candidates = (f"{name}-{number}" for number in numbers[name])
        apart.append(next(text for text in candidates if text not in taken) if name in seen else name)
        taken.add(apart[-1])
        seen.add(name)
    return tuple(apart)


def networks_apart(networks: Sequence[AnyNetwork]) -> tuple[AnyNetwork, ...]:
    """Networks under names that tell them apart, as `named_apart` does."""
    names = named_apart([network.name for network in networks])
    pairs = zip(networks, names, strict=True)
    return tuple(entry if entry.name == name else entry.replacing(name=name) for entry, name in pairs)


def require_distinct(networks: Sequence[Network]) -> None:
    """See to it that names tell networks apart, and keys all their layers, inputs and outputs.

    Raises
    ------
    NetworkError
        Two networks have the same name; or two layers, inputs or outputs have the same `layer_key`, as
        layer "b:c" of network "a" and layer "c" of network "a:b". Both are named.
    """
    step = "Rename one of the networks: its file, or network.replacing(name=...)"
    shared = [name for name, times in Counter(network.name for network in networks).items() if times > 1]
    findings = []
    for name in shared:
        places = [str(number) for number, network in enumerate(networks) if network.name == name]
        where = f"networks {' and '.join(places)}"
        findings.append(Finding(where, "have the same name, counted from 0", name, next_step=step))
    for kind in () if shared else ("signal", "output"):
        owners: dict[str, str] = {}
        for number, network in enumerate(networks):
            outputs = dict.fromkeys(output.name for output in network.outputs)
            for name in network.signal_shapes if kind == "signal" else outputs:
                own, key = f"{kind} {name} of network {network.name}", layer_key(networks, number, name)
                other = owners.setdefault(key, own)
                if other != own:
                    problem = "would be called the same"
                    findings.append(Finding(f"{other} and {own}", problem, key, next_step=step))
    if findings:
        raise NetworkError(*findings)


def as_index(reference: LayerReference) -> LayerReference:
    """A reference whose integers are known to be indexes, as text that says so."""
    number = whole_number(reference)
    return reference if number is None else f"#{number}"


def resolve_layer(network: Network, reference: LayerReference, option: Option | str = "") -> str:
    """Name of the layer that a reference means in a network; the rest as in `locate_layer`."""
    return locate_layer((network,), reference, option)[1]


def layers_called(networks: Sequence[Network]) -> dict[str, tuple[str, ...]]:
    """Keys of layers by what a placement calls them, be it of these networks, of more, or of one of them."""
    keys: dict[str, set[str]] = {}
    for number, network in enumerate(networks):
        for name in network.index:
            for called in (name, f"{network.name}:{name}"):
                keys.setdefault(called, set()).add(layer_key(networks, number, name))
    return {called: tuple(found) for called, found in keys.items() if len(found) == 1}


def resolve_reference(
    networks: Sequence[Network], reference: LayerReference, option: Option | str = ""
) -> str:
    """`layer_key` of the layer that a reference means; the rest as in `locate_layer`."""
    return layer_key(networks, *locate_layer(networks, reference, option))


def locate_layer(
    networks: Sequence[Network], reference: LayerReference, option: Option | str = ""
) -> tuple[int, str]:
    """(network, name) of the layer that a reference means, by the rules of this module.

    Parameters
    ----------
    option
        What the reference stands in, for the message.

    Raises
    ------
    OptionsError
        No layer is meant, with close names and the range of indexes; or one of several can be, with all.
    """
    return _Lookup(networks, "layer").locate(reference, option)


def locate_signal(
    networks: Sequence[Network], reference: LayerReference, option: Option | str = ""
) -> tuple[int, str]:
    """(network, name) of the layer or input that a reference means where a file of ours may hold it.

    Files hold keys: a `layer_key` always means what it names, and text that is an integer no index.

    Raises
    ------
    OptionsError
        As `locate_layer`.
    """
    parts = [reference if len(networks) == 1 else _behind(network, reference) for network in networks]
    exact = [(n, x) for n, x in enumerate(parts) if isinstance(x, str) and x in networks[n].signal_shapes]
    if len(exact) == 1:
        return exact[0]
    return _Lookup(networks, "signal").locate(reference, option)


@dataclass(frozen=True, slots=True)
class _Meaning:
    """A layer or input of a network, by its name or by its index."""

    network: int
    name: str
    is_index: bool


@dataclass(frozen=True, slots=True)
class _Lookup:
    """What references can mean: layers, or layers and inputs."""

    networks: Sequence[Network]
    kind: Literal["layer", "signal"]

    def locate(self, reference: LayerReference, option: Option | str) -> tuple[int, str]:
        """(network, name) of what a reference means.

        Raises
        ------
        OptionsError
            It is no name or index, means nothing, or can mean several layers or inputs.
        """
        where = f"{option}: {self.kind}" if option else self.kind
        known = reference if isinstance(reference, str) else _integer(reference, where)
        meanings = self.meanings(known)
        if len(meanings) == 1:
            self.tell(known, meanings[0], where)
            return meanings[0].network, meanings[0].name
        where = f"{where} {known!s:.80}"
        raise OptionsError(self.ambiguity(meanings, where) if meanings else self.absence(known, where))

    def tell(self, reference: LayerReference, meaning: _Meaning, where: str) -> None:
        """Warn of the text of a bare number that is taken as an index where layers are called by numbers."""
        network = self.networks[meaning.network]
        is_bare = meaning.is_index and isinstance(reference, str) and reference.isdecimal()
        if is_bare and all(map(str.isdecimal, network.index)) and meaning.name != reference:
            title = network.title(meaning.name)
            told = f'no layer is called {reference}: as an index it is {title}; "#{reference}" says so'
            warn_caller(f"{where} {reference}: {told}")

    def names(self, network: Network) -> Collection[str]:
        """The names that references can mean in a network."""
        return network.index if self.kind == "layer" else network.signal_shapes

    def meanings(self, reference: LayerReference) -> tuple[_Meaning, ...]:
        """All that a reference can mean, each layer or input once."""
        distinct: dict[tuple[int, str], _Meaning] = {}
        for number, network in enumerate(self.networks):
            pairs: list[tuple[str, bool]] = []
            if len(self.networks) == 1:
                pairs += self.within(network, reference)
            elif reference in self.names(network):
                pairs.append((str(reference), False))
            # Of one network alone a qualified name is understood, but does not compete with a plain one.
            rest = _behind(network, reference)
            if rest is not None and not (pairs and len(self.networks) == 1):
                pairs += self.within(network, rest)
            for name, is_index in pairs:
                distinct.setdefault((number, name), _Meaning(number, name, is_index))
        return tuple(distinct.values())

    def within(self, network: Network, reference: LayerReference) -> Iterator[tuple[str, bool]]:
        """(name, whether by index) of what a reference can mean in a network."""
        position = self.position(network, reference)
        count = len(network.index)
        in_range = position is not None and -count <= position < count
        name = _untitled(network, str(reference))
        if name in self.names(network) and (in_range or isinstance(reference, str)):
            yield name, False
        if position is not None and in_range:
            yield [*network.index][position], True

    def position(self, network: Network, reference: LayerReference) -> int | None:
        """The index that a reference can be, in range or not."""
        if isinstance(reference, int):
            return reference
        match = _INDEX.fullmatch(reference)
        by_name_alone = reference in network.index and not isinstance(reference, Typed)
        if match is None or ((by_name_alone or self.kind == "signal") and not reference.startswith("#")):
            return None
        return int(match[1])

    def ambiguity(self, meanings: Sequence[_Meaning], where: str) -> Finding:
        """What a reference can mean, twenty meanings at most, and how to write each of them."""
        listed = meanings[:_LISTED_MAX]
        described = [self.description(meaning) for meaning in listed]
        ways = [f'"{self.spelling(meaning)}"' for meaning in listed]
        if [meaning.is_index for meaning in listed] == [False, True]:
            ways = [f"{ways[0]} for the name, {ways[1]} for the index"]
        return Finding(where, f"can be {' or '.join(described)}", next_step=f"Write {' or '.join(ways)}")

    def description(self, meaning: _Meaning) -> str:
        """A meaning in words, with both name and index of a layer."""
        network = self.networks[meaning.network]
        owner = f" of {network.name}" if len(self.networks) > 1 else ""
        if meaning.name not in network.index:
            return f"the input named {meaning.name}{owner}"
        position = network.index[meaning.name]
        if meaning.is_index:
            return f"the layer at index {position}{owner} ({meaning.name})"
        return f"the layer named {meaning.name}{owner} (index {position})"

    def spelling(self, meaning: _Meaning) -> str:
        """Text that means this and nothing else: its key, or its index with as many zeros as that takes."""
        network, key = self.networks[meaning.network], layer_key(self.networks, *astuple(meaning)[:2])
        if meaning.name not in network.index:
            return key
        scope = f"{network.name}:" if len(self.networks) > 1 else ""
        numbers = (f"{scope}#{'0' * zeros}{network.index[meaning.name]}" for zeros in range(9))
        title = signal_title(self.networks, meaning.network, meaning.name)
        first = [next(numbers), title, key] if meaning.is_index else [title, key]
        # Networks that `require_distinct` refuses may leave none.
        return next((text for text in chain(first, numbers) if len(self.meanings(text)) == 1), key)

    def absence(self, reference: LayerReference, where: str) -> Finding:
        """Why a reference means nothing, and what may have been meant: in the network it names, or in all."""
        if len(self.networks) == 1:
            return self.absence_within(self.networks[0], reference, where)
        scopes = [(net, rest) for net in self.networks if (rest := _behind(net, reference)) is not None]
        if scopes:
            return self.absence_within(*max(scopes, key=lambda pair: len(pair[0].name)), where)
        owners = ", ".join(network.name for network in self.networks[:_LISTED_MAX])
        if isinstance(reference, int) or _INDEX.fullmatch(reference):
            step = f'Write "NETWORK:#{str(reference).lstrip("#")}"'
            if ways := [f'"{self.spelling(meaning)}"' for meaning in self.meanings(str(reference))]:
                step += f", or {' or '.join(ways)} for the name"
            return Finding(where, "an index needs its network", limit=owners, next_step=step)
        numbered = enumerate(self.networks)
        keys = {name: layer_key(self.networks, n, name) for n, net in numbered for name in self.names(net)}
        hint = _did_you_mean(reference, keys) or "Write NETWORK:LAYER"
        return Finding(where, f"no network has such a {self.kind}", limit=owners, next_step=hint)

    def absence_within(self, network: Network, reference: LayerReference, where: str) -> Finding:
        """Why a reference means nothing in a network: an index out of range, or a name it does not have."""
        span = f"{-len(network.index)}..{len(network.index) - 1}"
        position = self.position(network, reference)
        if position is not None:
            called = str(reference).removeprefix("#")
            title = network.title(called) if called in network.index else ""
            step = f'Write "{title}" for the name' if title else ""
            return Finding(where, f"index out of range in {network.name}", position, span, next_step=step)
        names = {name: network.title(name) for name in self.names(network)}
        listed = ", ".join([*names.values()][:_LISTED_MAX])
        step = f"{_did_you_mean(str(reference), names) or f'There are {listed}'} (indexes {span})"
        return Finding(where, f"{network.name} has no {self.kind} of that name", next_step=step)


def _behind(network: Network, reference: LayerReference) -> str | None:
    """What stands behind the network's name in a reference; None where it does not begin with it."""
    scope = f"{network.name}:"
    if not isinstance(reference, str) or not reference.startswith(scope):
        return None
    return type(reference)(reference[len(scope) :])


def _untitled(network: Network, reference: str) -> str:
    """The name of a layer or input that a reference shows as messages do; else the reference."""
    name = untitled(reference)
    is_known = name in network.signal_shapes or name in network.index
    said = f"{name} ({reference.rpartition('(')[2]}" if reference.endswith(")") else network.title(name)
    return name if is_known and network.title(name) == said else reference


def _did_you_mean(text: str, keys: Mapping[str, str]) -> str:
    """Keys of names that are close to a text, as a question."""
    close = [keys[name] for name in get_close_matches(text, keys, n=3)]
    return f"Did you mean {' or '.join(close)}?" if close else ""


def _integer(reference: object, where: str) -> int:
    step = 'Write a name, or an index as 3 or "#3"'
    number = whole_number(reference)
    if number is None:
        problem, value = "neither a name nor an index", quoted(reference)
        raise OptionsError(Finding(where, problem, value, next_step=step))
    if number.bit_length() > _INDEX_BITS_MAX:
        size = f"a number of {number.bit_length()} bits"
        raise OptionsError(Finding(where, "index out of range", size, next_step=step))
    return number


def whole_number(value: object) -> int | None:
    """An integer of whatever library as Python's; None for anything else, True and False included."""
    try:
        return None if isinstance(value, bool) else index(value)  # type: ignore[arg-type]  # found out here
    except TypeError:
        return None
