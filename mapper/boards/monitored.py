"""Which spikes of which cores are a layer's, as a configuration's monitors show them."""

from __future__ import annotations

from mapper.emit.shared.config import ChipConfig, Vector
from mapper.events import MonitoredLayer
from mapper.network import Origin

__all__ = ["monitored_layers"]


def monitored_layers(config: ChipConfig) -> dict[str, MonitoredLayer]:
    """Where monitored spikes are read; empty without interface.

    By layer; a second output of a layer that is pooled otherwise, by the output's name. A relay's monitor
    shows the layer pooled.
    """
    interface = config.interface
    if interface is None:
        return {}
    layers: dict[str, MonitoredLayer] = {}
    origins = {name: origin for name, (_, origin) in interface.shown.items()}
    for output in interface.outputs:
        parts = [(part.core, part.start, part.stop) for part in output.parts]
        if output.layer in interface.monitored and parts:
            reading = _reading(config, parts, output.host_pool, origins.get(output.layer))
            if layers.setdefault(output.layer, reading) != reading:
                layers[output.name] = reading
    standing = {layer.name: layer.standing for layer in interface.layers}
    for name, (holder, origin) in interface.shown.items():
        if name in interface.monitored and name not in layers:
            groups = [[(p.core, p.start, p.stop) for p in places] for places in standing[holder]]
            seen = [group for group in groups if group and all(_is_monitored(config, p[0]) for p in group)]
            layers[name] = _reading(config, (seen or groups)[0], (1, 1), origin)
    return layers


def _is_monitored(config: ChipConfig, core: int) -> bool:
    return config.hardware.cnn_layers[core].monitor_enable


def _reading(
    config: ChipConfig,
    parts: list[tuple[int, int, int]],
    host_pool: tuple[int, int],
    origin: Origin | None,
) -> MonitoredLayer:
    shape = config.hardware.cnn_layers[parts[0][0]].dimensions
    size = shape.output_shape.size if shape else Vector(x=0, y=0)
    full = (max(stop for _, _, stop in parts), size.y, size.x)
    return MonitoredLayer(parts, full, host_pool, origin)
