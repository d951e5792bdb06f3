"""Sinabs' own matching of layers to cores, ready to be timed, where sinabs is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from mapper.network import Network
from tests.sinabs.inert import inert_samna

__all__ = ["sinabs_matching"]


def sinabs_matching(network: Network) -> Callable[[], object] | None:
    """Match layers with the cores of Speck 2f as sinabs does, by memory alone; its layers are built before.

    None where sinabs is not installed, or does not take this network.
    """
    if find_spec("sinabs") is None:
        return None
    # The matching asks nothing of samna, but cannot be imported without; the real one may start pip.
    with inert_samna():
        from sinabs.backend.dynapcnn import DynapcnnNetwork  # noqa: PLC0415
        from sinabs.backend.dynapcnn.chips.speck2f import Speck2FConfigBuilder  # noqa: PLC0415
        from sinabs.backend.dynapcnn.mapping import get_valid_mapping  # noqa: PLC0415

    from tests.sinabs.modules import as_module, without_sensor  # noqa: PLC0415  # imports sinabs

    fed = without_sensor(network)
    features, height, width = fed.inputs[0].shape
    try:
        layers = DynapcnnNetwork(as_module(fed), input_shape=(features, height, width)).dynapcnn_layers
    except IndexError:  # sinabs 3.1.3 fails where a layer feeds one layer through a pool and another without
        return None
    constraints = Speck2FConfigBuilder.get_constraints()
    return lambda: get_valid_mapping(layers, constraints)
