"""What a user may ask of a configuration beyond the placement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mapper.arguments import checked
from mapper.by_value import ByValue

__all__ = ["EmitOptions", "NoiseFilter"]


@checked
@dataclass(frozen=True, slots=True)
class NoiseFilter:
    """The filter behind the sensor stage.

    Attributes
    ----------
    mode
        "noise", "low-pass", or "noise-and-hot-pixels".
    size
        (height, width) of the neighbourhood, each 1..15; not used in low-pass mode.
    threshold
        Events in the neighbourhood that let one pass, >= 0.
    rate_hz
        Rate of the slow clock the filter wants, or None to take what others ask for.
    """

    mode: Literal["noise", "low-pass", "noise-and-hot-pixels"] = "noise"
    size: tuple[int, int] = (1, 1)
    threshold: int = 0
    rate_hz: float | None = None


@checked
@dataclass(frozen=True, slots=True, eq=False)
class EmitOptions(ByValue):
    """Wishes for a configuration; the defaults add nothing to the placement.

    Attributes
    ----------
    sensor
        Whether the sensor's own events pass; None: if the network has a sensor input. True is refused where
        nothing reads them.
    monitor_sensor
        Read the events of the sensor stage.
    noise_filter
        Of the sensor stage, or None.
    dt_us
        Microseconds of a time step, > 0. Biases need it: they are added once per tick of the slow clock.
    readout_threshold
        Spikes a moving average must exceed; >= 0.
    readout_window_ticks
        Length of the moving window: 1, 16 or 32 ticks of the slow clock on the chips that have a readout.
    readout_rate_hz
        Rate of the slow clock the readout wants, or None.
    decimators
        By layer ("network:layer" where several share the chip), an interval 0..7: one spike in 2, 4, 8, 16,
        32, 128, 256 or 512 passes. Such a layer must stand on one core, without relays.
    balancers
        Layers whose core drops input spikes when it is congested; as with decimators, on one core.
    factory
        Factory settings by samna's names, passed through unchecked: only for those who know them.
    """

    sensor: bool | None = None
    monitor_sensor: bool = False
    noise_filter: NoiseFilter | None = None
    dt_us: float | None = None
    readout_threshold: int = 0
    readout_window_ticks: int = 1
    readout_rate_hz: float | None = None
    decimators: Mapping[str, int] = field(default_factory=dict)
    balancers: tuple[str, ...] = ()
    factory: Mapping[str, int] = field(default_factory=dict)
