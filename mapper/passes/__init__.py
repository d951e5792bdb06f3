"""Rewrites from a network as it was trained to the integer network a chip runs.

Every pass is a pure function, knows no chip, and keeps what the network computes, which tests prove by
simulating it before and after. `PASSES` take a `Network` to the normal form; what follows takes a
`NormalNetwork`. `quantize` alone changes values: it rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

from mapper.asking import ADD_OUTPUT_NEURON
from mapper.errors import Finding, NetworkError, OptionsError
from mapper.network import Network
from mapper.normal_form import NormalNetwork, normal_form
from mapper.passes.average import average_to_sum
from mapper.passes.batch_norm import fold_batch_norm
from mapper.passes.dense import make_dense
from mapper.passes.dropout import drop_dropout
from mapper.passes.linear import linear_to_convolution
from mapper.passes.minimum import mend_minimum, require_minimum
from mapper.passes.output_neuron import add_output_neuron as append_output_neuron
from mapper.passes.pools import merge_pools
from mapper.passes.quantize import quantize
from mapper.passes.readout import ReadoutSpacing, space_readout
from mapper.passes.scale import Rescale, fold_scale
from mapper.passes.thresholds import fold_thresholds
from mapper.values import is_positive, value_text

__all__ = ["PASSES", "PrepareOptions", "ReadoutSpacing", "append_output_neuron", "prepare"]

# Batch norm and scales come before the average pools: these rescale weights, never biases, and the
# order of float operations decides the last bit. Flattening goes before pools are merged.
PASSES = (
    drop_dropout,
    fold_batch_norm,
    fold_thresholds,
    linear_to_convolution,
    make_dense,
    merge_pools,
    average_to_sum,
    fold_scale,
)


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """What a user may ask of the passes.

    Attributes
    ----------
    add_output_neuron
        Threshold, > 0, of the neurons appended to output layers that have none.
    readout
        Spread the classes of the layer that feeds the readout stage.
    quantize
        Make weights, biases and thresholds integers, where there are weights.
    rescale
        Chooses one factor where average pools of different size add up, an approximation; None refuses.
    """

    add_output_neuron: float | None = None
    quantize: bool = True
    readout: ReadoutSpacing | None = None
    rescale: Rescale | None = None

    def __post_init__(self) -> None:
        threshold = self.add_output_neuron
        if threshold is not None and not is_positive(threshold):
            problem, value = "a threshold must be a positive number", value_text(threshold)
            raise OptionsError(Finding(str(ADD_OUTPUT_NEURON), problem, value, "> 0"))


def prepare(network: Network, options: PrepareOptions | None = None) -> NormalNetwork:
    """All passes in order: the network in normal form, with integers if it has weights.

    Raises
    ------
    NetworkError
        What no pass can bring into normal form, or numbers that rounding would ruin.
    """
    options = options or PrepareOptions()
    bare = [layer.title for layer in network.layers if layer.operation.weight is None]
    if bare and len(bare) < len(network.layers):
        raise NetworkError(
            *(Finding(f"layer {name}", "has no weights, though other layers have") for name in bare)
        )
    dense = append_output_neuron(network, options.add_output_neuron)
    for step in PASSES:
        dense = fold_scale(dense, options.rescale) if step is fold_scale else step(dense)
    ready = space_readout(normal_form(dense), options.readout)
    if options.quantize and ready.has_weights and not ready.is_integer:
        require_minimum(ready)
        ready = mend_minimum(quantize(ready))
    return ready
