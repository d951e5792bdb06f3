"""Sinabs' own matching of layers to cores, ready to be timed, where sinabs is installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from mapper.network import Network
from tests.sinabs.inert import inert_samna

__all__ = ["SinabsMatching", "sinabs_matching"]


@dataclass(frozen=True, slots=True)
class SinabsMatching:
    """What is timed of sinabs.

    Attributes
    ----------
    whole
        ``get_valid_mapping``: the memories that layers ask for, then the matching.
    flow_alone
        The matching by itself, of layers whose cores are known.
    """

    whole: Callable[[], object]
    flow_alone: Callable[[], object]


def sinabs_matching(network: Network) -> SinabsMatching | None:
    """Match layers with the cores of Speck 2f as sinabs does, by memory alone; its layers are built before.

    None where sinabs is not installed, or does not take this network.
    """
    if find_spec("sinabs") is None:
        return None
    # The matching asks nothing of samna, but cannot be imported without; the real one may start pip.
    with inert_samna():
        from sinabs.backend.dynapcnn import DynapcnnNetwork, mapping  # noqa: PLC0415
        from sinabs.backend.dynapcnn.chips.speck2f import Speck2FConfigBuilder  # noqa: PLC0415

    from tests.sinabs.modules import as_module, without_sensor  # noqa: PLC0415  # imports sinabs

    fed = without_sensor(network)
    features, height, width = fed.inputs[0].shape
    constraints = Speck2FConfigBuilder.get_constraints()
    try:
        layers = DynapcnnNetwork(as_module(fed), input_shape=(features, height, width)).dynapcnn_layers
        mapping.get_valid_mapping(layers, constraints)
    # Of some graphs with residual edges sinabs 3.1.3 misses an edge.
    except (IndexError, ValueError):
        return None
    fits = [mapping.find_chip_layers(layer, constraints) for layer in layers.values()]

    def flow_alone() -> None:
        graph = mapping.make_flow_graph(fits, len(constraints))
        mapping.recover_mapping(mapping.edmonds(graph, 0, len(graph) - 1), len(fits))

    return SinabsMatching(lambda: mapping.get_valid_mapping(layers, constraints), flow_alone)
