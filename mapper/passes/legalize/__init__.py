"""Rewrites that depend on what a chip's cores can express. What they cannot rewrite stays as it is."""

from mapper.passes.legalize.forms import Forms, legal_forms, legalize
from mapper.passes.legalize.joints import Extended, with_joints
from mapper.passes.legalize.layer_form import LayerForm

__all__ = ["Extended", "Forms", "LayerForm", "legal_forms", "legalize", "with_joints"]
