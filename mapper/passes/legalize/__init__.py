"""Rewrites that depend on what a chip's cores can express. What they cannot rewrite stays as it is."""

from mapper.passes.legalize.forms import Forms, legal_forms, legalize
from mapper.passes.legalize.layer_form import LayerForm
from mapper.passes.legalize.offers import Extended, extended

__all__ = ["Extended", "Forms", "LayerForm", "extended", "legal_forms", "legalize"]
