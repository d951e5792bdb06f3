"""A placement with its routes: what the solver gives, the checker reads and the emitter writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from hwspec.display import Shown

__all__ = [
    "DVS",
    "READOUT",
    "DvsStage",
    "HostEntry",
    "LayerPart",
    "Monitor",
    "Objective",
    "Placement",
    "Relay",
    "Route",
    "Solution",
]

DVS: Literal["dvs"] = "dvs"
READOUT: Literal["readout"] = "readout"
Source: TypeAlias = int | Literal["dvs"]
Target: TypeAlias = int | Literal["readout"]


@dataclass(frozen=True, slots=True)
class LayerPart:
    """A layer on a core, whole or in part: which features stands in the `Placement`.

    Attributes
    ----------
    network
        Index of the network.
    layer
        Name of the layer.
    copy_index
        0 unless the whole layer stands on the chip several times.
    """

    network: int
    layer: str
    copy_index: int = 0


@dataclass(frozen=True, slots=True)
class Relay:
    """An identity core that passes a signal on, pooled by `pooling`.

    Attributes
    ----------
    network
        Index of the network; None for the sensor, whose events are the same for all networks.
    signal
        Name of a layer or host input; `DVS` for the sensor.
    pooling
        Pool size that its output contains, behind the sensor stage's own.
    reads_all
        Whether the core reads every feature of the signal and passes on those of its `Placement`; else it
        reads just these.
    """

    network: int | None
    signal: str
    pooling: int = 1
    reads_all: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """What one core does.

    Attributes
    ----------
    core
        Core id.
    features
        Half-open range (start, stop) of the body's output features that live here.
    """

    core: int
    body: LayerPart | Relay
    features: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Route:
    """One destination entry of a core or of the sensor stage.

    Attributes
    ----------
    source
        Core id, or `DVS`.
    slot
        Which of the source's destination entries, from 0.
    target
        Core id, or `READOUT`.
    pooling
        Pool size of this destination, square, stride = size.
    feature_shift
        Added to the feature index on arrival.
    """

    source: Source
    slot: int
    target: Target
    pooling: int = 1
    feature_shift: int = 0


@dataclass(frozen=True, slots=True)
class HostEntry:
    """A core that takes the events of an input from the host."""

    network: int
    input: str
    core: int
    feature_shift: int = 0


@dataclass(frozen=True, slots=True)
class DvsStage:
    """The one setting of the sensor stage; pairs are (height, width).

    Attributes
    ----------
    origin, cut
        First and last row and column that pass, in pooled coordinates; `cut` is inclusive.
    mirror
        (vertical, horizontal).
    gates
        (on, off) polarity.
    """

    merge: bool
    pooling: tuple[int, int]
    origin: tuple[int, int]
    cut: tuple[int, int]
    mirror: tuple[bool, bool] = (False, False)
    swap: bool = False
    gates: tuple[bool, bool] = (True, True)


@dataclass(frozen=True, slots=True)
class Monitor:
    """A core whose spikes are read.

    Attributes
    ----------
    features
        Half-open range of the signal's features seen here.
    pooling_seen
        Pool size already contained in what the monitor shows; 1 for a layer's own core.
    """

    source: Source
    network: int
    signal: str
    features: tuple[int, int]
    pooling_seen: int = 1


@dataclass(frozen=True, slots=True)
class Objective:
    """One stage of the lexicographic objective; proven where value equals bound."""

    name: str
    value: int | str
    bound: int | str

    @property
    def proven(self) -> bool:
        """Whether nothing better exists."""
        return self.value == self.bound


@dataclass(frozen=True, slots=True)
class Solution(Shown):
    """Everything that is decided; complete without the solver."""

    placements: tuple[Placement, ...]
    routes: tuple[Route, ...]
    host_entries: tuple[HostEntry, ...]
    monitors: tuple[Monitor, ...]
    dvs_stage: DvsStage | None = None
    objectives: tuple[Objective, ...] = ()
