"""Currents that add before their neurons, and what becomes of them when these come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import fx, nn

from mapper.folding import Between, folded, linear_part
from mapper.frontends.currents import Branch, joined
from mapper.frontends.from_torch.leaves import batch_norm_of
from mapper.frontends.from_torch.misfits import misfit_of_norm
from mapper.frontends.from_torch.trace import known_class
from mapper.frontends.from_torch.values import Current, MisfitError, RefusalError, Signal, Value, flattened
from mapper.frontends.inference import LayerDraft
from mapper.network import Edge
from mapper.operations import Neuron, Pair, Pool, Shape
from mapper.wording import titled

__all__ = ["add_currents", "is_summed", "layers_of", "normalised", "with_neurons"]


def is_summed(stack: fx.Node) -> bool:
    """Whether a stack of tensors only serves to add them up, as nirtorch's executor adds what meets."""
    made = all(axis == 0 for axis in (*stack.args[1:], *stack.kwargs.values()))
    return made and all(
        getattr(user.target, "__name__", user.target) == "sum"
        and (*user.args[1:], *user.kwargs.values()) == (0,)
        for user in stack.users
    )


def add_currents(left: object, right: object) -> Current:
    """The sum of two currents, or of a current and spikes that skip the weights.

    Raises
    ------
    RefusalError
        One of them is neither.
    MisfitError
        Other shapes.
    """
    first = next(value for value in (left, right) if isinstance(value, Current))
    if not isinstance(left, Current | Signal) or not isinstance(right, Current | Signal):
        step = f"Put it into the bias of layer {titled(first.layer)}"
        raise RefusalError(
            f"adds a constant to the currents of layer {titled(first.layer)}", step, instead=first
        )
    sure = left.sure and right.sure
    if left.dims != right.dims and sure:
        shapes = " and ".join("x".join(map(str, value.dims)) for value in (left, right))
        step = "Give both the same number of features and the same map"
        raise MisfitError("adds currents of different shapes", step, shapes)
    return replace(first, sure=sure, between=(), addends=(left, right))


def layers_of(current: Current) -> list[str]:
    """The weight layers whose currents a current is, in the order they are added."""
    return [term.layer for term, _ in _terms(current) if isinstance(term, Current)]


def _terms(
    current: Current, behind: Sequence[Between] = ()
) -> Iterator[tuple[Current | Signal, tuple[Between, ...]]]:
    """Single currents and signals, each with all that stands between it and the neurons.

    What a normalisation adds is added once: the first term carries it.
    """
    steps = (*current.between, *behind)
    if not current.addends:
        yield current, steps
    for n, addend in enumerate(current.addends):
        rest = tuple(map(linear_part, steps)) if n else steps
        if isinstance(addend, Signal):
            yield addend, rest
        else:
            yield from _terms(addend, rest)


def _branches_of(
    current: Current, drafts: Mapping[str, LayerDraft], edges: Sequence[Edge]
) -> tuple[Branch, ...]:
    """A sum of currents as branches of one layer.

    Parameters
    ----------
    drafts, edges
        Of the layers whose currents add.
    """
    branches = []
    for term, between in _terms(current):
        if isinstance(term, Current):
            into = tuple(edge for edge in edges if edge.target == term.layer)
            branches.append(Branch(term.layer, drafts[term.layer].operation, into, between))
        else:
            branches.append(_skip(term, current.shape, between))
    return tuple(branches)


def _skip(signal: Signal, shape: Shape, between: tuple[Between, ...]) -> Branch:
    # A pool behind the sum makes its shape smaller than what adds up: maps are told by their dimensions.
    features = signal.shape.features
    signal = flattened(signal) if len(signal.dims) == 1 and shape[1:] == (1, 1) else signal
    into = tuple(Edge(part.source, "", part.path, part.offset) for part in signal.parts)
    names = " and ".join(dict.fromkeys(part.source for part in signal.parts))
    return Branch(names, None, into, between, features)


def with_neurons(
    current: Current,
    neuron: Neuron | None,
    drafts: Mapping[str, LayerDraft],
    edges: Sequence[Edge],
    signals: Mapping[str, Shape],
) -> tuple[dict[str, LayerDraft], list[Edge], tuple[str, ...]]:
    """Drafts and edges once neurons read a current, and what is worth telling.

    A sum takes the place of the layers it is of. It stands behind all others, as nothing it reads may come
    after it. A pool goes into the kernel before it.

    Parameters
    ----------
    signals
        Shapes of all that layers and inputs send, and of what else has a name.

    Raises
    ------
    UnsupportedLayerError, ShapeError
        See `mapper.frontends.currents.joined`.
    """
    name, parts = current.layer, layers_of(current)
    if not current.sure:
        return dict(drafts), list(edges), ()
    if current.addends:
        result = joined(name, _branches_of(current, drafts, edges), neuron, signals)
        rest = {key: draft for key, draft in drafts.items() if key not in parts}
        kept = [edge for edge in edges if edge.target not in parts]
        return rest | {d.name: d for d in result.layers}, [*kept, *result.edges], result.notes
    draft = drafts[name]
    between = tuple(step for step in current.between if not isinstance(step, Pool))
    if between == current.between:
        return {**drafts, name: replace(draft, between=between, neuron=neuron)}, list(edges), ()
    larger: Any = folded(draft.operation, current.between)
    note = (
        f"{name}: the pool before its neurons went into its kernel, which is {_times(larger.kernel)} now, of "
    )
    note += f"stride {_times(larger.stride)}"
    whole = replace(draft, operation=larger, between=(), neuron=neuron)
    return {**drafts, name: whole}, list(edges), (note,)


def normalised(module: Any, value: Value) -> Current:
    """The current behind an `nn.BatchNorm1d` or `nn.BatchNorm2d`.

    Raises
    ------
    RefusalError
        It normalises spikes, or by the statistics of each batch.
    MisfitError
        Another number of features.
    """
    if isinstance(value, Signal) and not value.sure:
        raise MisfitError("reads what was refused before it", "Mend that first")
    if isinstance(value, Signal):
        problem = "batch normalisation of spikes: a core normalises currents, folded into its weights"
        raise RefusalError(problem, "Put it between weights and neurons")
    norm = batch_norm_of(module)
    features, kind = int(module.num_features), type(module).__name__
    expected = 3 if known_class(module) is nn.BatchNorm2d else 1
    if features != value.shape.features or len(value.dims) != expected or expected > len(value.dims):
        raise misfit_of_norm(kind, features, value.shape, value.dims)
    return replace(value, between=(*value.between, norm))


def _times(pair: Pair) -> str:
    return f"{pair[0]}x{pair[1]}"
