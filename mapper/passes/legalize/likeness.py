"""A network in the form in which another one, of the same layers and other numbers, was placed."""

from __future__ import annotations

from dataclasses import replace

from hwspec.schema import ChipSpec
from mapper.errors import Finding, NetworkError
from mapper.normal_form import NormalNetwork
from mapper.passes.legalize.forms import Forms, legal_forms
from mapper.passes.legalize.fusion import whole_siblings
from mapper.passes.legalize.layer_form import LayerForm
from mapper.passes.legalize.offers import extended
from mapper.passes.legalize.phases import has_phases, phased_by

__all__ = ["form_like"]


def form_like(network: NormalNetwork, placed: NormalNetwork, chip: ChipSpec) -> NormalNetwork:
    """The form of a network that a placed one has: pools, phases, joint relays, fused siblings.

    Parameters
    ----------
    network
        What the chip-free passes made, rounded or not.
    placed
        A network of a result.

    Raises
    ------
    NetworkError
        No form of the one is that of the other.
    """
    if has_phases(placed) and not network.origins:
        try:
            network = phased_by(network, placed)
        except ValueError as error:
            raise NetworkError(Finding(network.name, str(error))) from None
    network = whole_siblings(network, placed)
    offers = extended(network, (), chip) if placed.by_name.keys() != network.by_name.keys() else None
    # All that any objective and any neighbour may have chosen.
    for forms in legal_forms(network, chip, shared_stage=True, by_load=True, extended=offers):
        chosen = _chosen(forms, placed)
        if chosen is not None:
            absent = frozenset(forms.layers).difference(placed.by_name)
            return forms.network(chosen, absent)
    raise NetworkError(Finding(network.name, "has no form like that of its integers"))


def _shape(form: LayerForm) -> tuple[object, ...]:
    """A form's shape, whatever the order of its edges."""
    *shape, edges = form.shape
    return (*shape, sorted(map(repr, edges)))  # type: ignore[call-overload]  # the edges come last


def _chosen(forms: Forms, placed: NormalNetwork) -> dict[str, int] | None:
    """By layer, the index of the form that it was placed in."""
    chosen: dict[str, int] = {}
    there = placed.signal_shapes
    for layer in placed.layers:
        shape = _shape(LayerForm(layer, placed.incoming[layer.name]))
        rows = forms.layers.get(layer.name, ())
        here = (replace(f, edges=tuple(e for e in f.edges if e.source in there)) for f in rows)
        match = next((n for n, form in enumerate(here) if _shape(form) == shape), None)
        if match is None:
            return None
        chosen[layer.name] = match
    return chosen
