"""A chip as data: what its cores hold, what they can do, how they connect, and who says so.

Every class is frozen and refuses unknown fields. Units stand in the names; words are 8 bit (kernel) or
16 bit (neuron, bias).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from hwspec.display import Shown

__all__ = [
    "AssumedFact",
    "ChipSpec",
    "CoreClass",
    "CoreExtra",
    "CoreGroup",
    "CoreSpec",
    "EmissionSpec",
    "Erratum",
    "Evidence",
    "InputSpec",
    "LayerLimits",
    "LibraryModule",
    "LibraryName",
    "MonitorSpec",
    "ReadoutSpec",
    "RoutingSpec",
    "SourceNote",
]

Evidence = Literal["datasheet", "vendor-code", "measured", "assumed"]
Count = Annotated[int, Field(strict=True, ge=0, le=2**40)]
Positive = Annotated[int, Field(strict=True, ge=1, le=2**40)]
# Events count features, rows and columns in 16 bits, and arithmetic here is that of 64.
Side = Annotated[int, Field(strict=True, ge=1, le=2**16)]
Margin = Annotated[int, Field(strict=True, ge=0, le=2**16)]
Slots = Annotated[int, Field(strict=True, ge=0, le=2**16)]
Bits = Annotated[int, Field(strict=True, ge=1, le=63)]
# What is imported and looked up there is the vendor's own, whatever a file says.
LibraryModule = Annotated[str, Field(pattern=r"^samna\.[A-Za-z0-9_]+$", max_length=80)]
LibraryName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=80)]
Flag = Annotated[bool, Field(strict=True)]
Sizes = Annotated[tuple[Positive, ...], Field(min_length=1)]

CoreExtra = Literal["kill_bits", "decimator", "congestion_balancer", "internal_slow_clock"]

KERNEL_WORD_BITS, NEURON_WORD_BITS, BIAS_WORD_BITS = 8, 16, 16


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LayerLimits(_Spec):
    """What one core can express, whatever its memories hold."""

    input_height_max: Side = Field(description="rows of the input map")
    input_width_max: Side = Field(description="columns of the input map")
    output_height_max: Side = Field(description="rows of the neuron map, before pooling")
    output_width_max: Side = Field(description="columns of the neuron map, before pooling")
    input_features_max: Side = Field(description="features a core reads")
    output_features_max: Side = Field(description="features a core makes")
    kernel_size_min: Side = Field(description="least rows and columns of a kernel")
    kernel_size_max: Side = Field(description="most rows and columns of a kernel")
    kernel_square: Flag = Field(description="whether kernels must be as high as wide")
    strides: Sizes = Field(description="strides per axis")
    padding_max: Margin = Field(description="rows or columns of zeros per side")
    weight_bits: Bits = Field(description="bits of a weight, signed")
    bias_bits: Bits = Field(description="bits of a bias, signed")
    state_bits: Bits = Field(description="bits of potentials, thresholds and initial values, signed")


class CoreSpec(_Spec):
    """One core: three memories, its own destinations and limits."""

    kernel_words: Count = Field(description="8-bit words of kernel memory")
    neuron_words: Count = Field(description="16-bit words of neuron memory")
    bias_words: Count = Field(description="16-bit words of bias memory")
    fan_out: Slots = Field(description="destination entries")
    parallel: Flag = Field(default=False, description="computes in parallel inside; meant for busy layers")
    synops_per_second: Positive | None = Field(default=None, description="bandwidth; no public figure exists")
    limits: LayerLimits = Field(description="what this core can express")

    @cached_property
    def capacity_bits(self) -> int:
        """Bits of all three memories."""
        return (
            KERNEL_WORD_BITS * self.kernel_words
            + NEURON_WORD_BITS * self.neuron_words
            + BIAS_WORD_BITS * self.bias_words
        )

    @property
    def states_bounds(self) -> bool:
        """Whether it states any bound beside memories and limits: one of the facts that may be absent."""
        optional = (name for name, field in type(self).model_fields.items() if field.default is None)
        return any(getattr(self, name) is not None for name in optional)


class CoreGroup(_Spec):
    """A run of equal cores, first and last id inclusive."""

    first: Count
    last: Count
    core: CoreSpec


class RoutingSpec(_Spec):
    """What a destination entry can do."""

    fan_out: Slots = Field(description="destination entries of a core that states none of its own")
    poolings: Sizes = Field(description="pool sizes, square, stride = size")
    feature_shift: Flag = Field(description="whether an entry can shift the feature index")
    pooled_border: Literal["dropped", "delivered"] = Field(
        description="what becomes of a pooled coordinate outside the target's map"
    )


class InputSpec(_Spec):
    """The sensor stage."""

    height: Side = Field(description="rows of the sensor")
    width: Side = Field(description="columns of the sensor")
    features: Side = Field(description="polarities")
    fan_out: Slots = Field(description="destination entries of the stage")
    poolings: Sizes = Field(description="pool sizes per axis")
    stage_id: Count | None = Field(default=None, description="number of the stage among destinations")


class ReadoutSpec(_Spec):
    """The stage that turns spikes of the last layer into a class."""

    destination_id: Count = Field(description="number of the stage among destinations")
    classes_max: Positive = Field(description="classes beside idle")
    feature_spacing: Positive = Field(description="core features per class")
    windows_ticks: Sizes = Field(description="lengths of the moving window in slow-clock ticks")


class MonitorSpec(_Spec):
    """What can be watched."""

    cores_max: Count | None = Field(default=None, description="cores monitored at once; none: all")
    excludes_readout_monitor: Flag = Field(description="whether the readout monitor silences spike monitors")


class EmissionSpec(_Spec):
    """How a configuration of this chip is named in the vendor's library."""

    samna_module: LibraryModule
    configuration_class: LibraryName
    device_types: tuple[tuple[str, str], ...] = Field(
        description="pairs: the device name users write, the vendor's name of its type"
    )
    source_node: LibraryName = Field(description="class of the node that sends events to a board")
    sink_node: LibraryName = Field(description="class of the node that takes events from a board")
    destination_id_max: Count
    core_extras: tuple[CoreExtra, ...] = Field(
        default=(), description="attributes of a core that only some chips of the family have"
    )


class Erratum(_Spec):
    """A trap of this chip."""

    code: str = Field(pattern=r"^[a-z0-9-]+$")
    statement: str = Field(min_length=1)
    evidence: Evidence
    source: str = Field(min_length=1)


class SourceNote(_Spec):
    """Who says so, and how well it is known."""

    evidence: Evidence
    source: str = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class AssumedFact:
    """A fact of a chip that no source states.

    Attributes
    ----------
    path
        Field or fields, as in the chip's table of sources.
    statement
        One sentence for reports.
    """

    path: str
    statement: str


@dataclass(frozen=True, slots=True)
class CoreClass:
    """Equal cores: ids ascending."""

    core: CoreSpec
    core_ids: tuple[int, ...]


class ChipSpec(Shown, _Spec):
    """A whole chip; an object that exists has passed `hwspec.check`."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=80)
    title: str
    devices: tuple[str, ...] = Field(default=(), description="device names users write")
    core_groups: Annotated[tuple[CoreGroup, ...], Field(min_length=1)]
    routing: RoutingSpec
    input: InputSpec | None = None
    readout: ReadoutSpec | None = None
    monitor: MonitorSpec
    emission: EmissionSpec | None = None
    errata: tuple[Erratum, ...] = ()
    sources: dict[str, SourceNote] = Field(description="field path (ranges allowed) to its source")

    @cached_property
    def cores(self) -> tuple[CoreSpec, ...]:
        """Cores by id; equal neighbours share one object."""
        return tuple(g.core for g in self.core_groups for _ in range(g.first, g.last + 1))

    @property
    def core_count(self) -> int:
        """Number of cores."""
        return self.core_groups[-1].last + 1

    @cached_property
    def core_classes(self) -> tuple[CoreClass, ...]:
        """Equal cores together, by smallest id."""
        members: dict[CoreSpec, list[int]] = {}
        for group in self.core_groups:
            members.setdefault(group.core, []).extend(range(group.first, group.last + 1))
        return tuple(CoreClass(core, tuple(ids)) for core, ids in members.items())

    def assumed_facts(self) -> tuple[AssumedFact, ...]:
        """Facts of evidence class "assumed"."""
        return self._assumed

    @cached_property
    def _assumed(self) -> tuple[AssumedFact, ...]:
        return tuple(
            AssumedFact(path, f"{self.name}: {path} is assumed ({note.source})")
            for path, note in self.sources.items()
            if note.evidence == "assumed"
        )

    def content_hash(self) -> str:
        """SHA-256 of the specification as canonical JSON, hexadecimal."""
        return self._hash

    def __hash__(self) -> int:
        return hash(self._hash)

    @cached_property
    def _hash(self) -> str:
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
