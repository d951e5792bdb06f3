"""Rewrites that depend on what a chip's cores can express. What they cannot rewrite stays as it is."""

from mapper.passes.legalize.forms import Forms, legal_forms, legalize
from mapper.passes.legalize.fusion import as_rounded
from mapper.passes.legalize.layer_form import LayerForm
from mapper.passes.legalize.likeness import form_like
from mapper.passes.legalize.offers import Extended, extended
from mapper.passes.legalize.phases import MOVE, has_phases, phased, phased_by
from mapper.passes.legalize.rewrites import obstacles, rewritten

__all__ = [
    "MOVE",
    "Extended",
    "Forms",
    "LayerForm",
    "as_rounded",
    "extended",
    "form_like",
    "has_phases",
    "legal_forms",
    "legalize",
    "obstacles",
    "phased",
    "phased_by",
    "rewritten",
]
