"""What may stand in a shape file, field by field."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "ConcatForm",
    "ConvForm",
    "DvsForm",
    "LayerForm",
    "Name",
    "NeuronForm",
    "PoolEntry",
    "PoolForm",
    "Pools",
    "ShapesForm",
    "SourceForm",
]

Positive = Annotated[int, Field(strict=True, ge=1, le=2**31)]
Natural = Annotated[int, Field(strict=True, ge=0, le=2**31)]
PositivePair = Positive | tuple[Positive, Positive]
NaturalPair = Natural | tuple[Natural, Natural]
Flag = Annotated[bool, Field(strict=True)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PoolForm(_Form):
    """A pool; stride is the size unless stated. Pairs are height, width."""

    kind: Literal["sum", "average", "max"] = "sum"
    size: PositivePair
    stride: PositivePair | None = None


PoolEntry = Positive | tuple[Positive, Positive] | PoolForm
Pools = PoolEntry | list[PoolEntry]


class ConvForm(_Form):
    """A convolution; one number for a pair means both."""

    features: Positive
    kernel: PositivePair
    stride: PositivePair = 1
    padding: NaturalPair = 0
    dilation: PositivePair = 1
    groups: Positive = 1
    bias: Flag = False


class LinearForm(_Form):
    """A dense layer; what reaches it is flattened."""

    features: Positive
    bias: Flag = False


class NeuronForm(_Form):
    """Integrate-and-fire neurons. Other kinds are refused by name."""

    kind: str = "if"
    threshold: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] = 1.0
    minimum: Annotated[float, Field(strict=True, le=0, allow_inf_nan=False)] | None = None
    reset: Literal["subtract", "zero"] = "subtract"
    spike_mode: Literal["multi", "single"] = "multi"


class SourceForm(_Form):
    """A signal with what happens to it on the way; `pool` comes after the source layer's own."""

    source: Name
    pool: Pools | None = None
    offset: Natural | None = None
    delay: Natural | None = None


class ConcatForm(_Form):
    """Signals side by side, in this order."""

    concat: list[Name | SourceForm]


SourceEntry = Name | SourceForm
From = SourceEntry | ConcatForm | list[SourceEntry]


class LayerForm(_Form):
    """A layer: one of conv and linear, then neurons, then the pool that all its readers see."""

    name: Name
    conv: ConvForm | None = None
    linear: LinearForm | None = None
    batch_norm: Flag = False
    dropout: Annotated[float, Field(strict=True)] | Flag = False
    neuron: Flag | NeuronForm = True
    pool: Pools | None = None
    from_: From | None = Field(default=None, alias="from")

    @model_validator(mode="after")
    def _one_operation(self) -> LayerForm:
        if (self.conv is None) == (self.linear is None):
            raise ValueError("a layer has either conv or linear")
        return self


class DvsForm(_Form):
    """Settings of the sensor stage; pairs are rows, columns."""

    origin: tuple[Natural, Natural] = (0, 0)
    mirror: tuple[Flag, Flag] = (False, False)
    swap_axes: Flag = False
    on_channel: Flag = True
    off_channel: Flag = True


class InputForm(_Form):
    """Where spikes enter: features, height, width; from the host unless `dvs` says the sensor."""

    shape: tuple[Positive, Positive, Positive] | None = None
    dvs: Flag | DvsForm = False


class OutputForm(_Form):
    """A layer whose spikes are wanted, pooled on the host if `pool` says so."""

    layer: Name
    pool: Pools | None = None


class ShapesForm(_Form):
    """A whole file."""

    schema_version: Literal[1] = 1
    name: Name | None = None
    input: InputForm | None = None
    inputs: dict[Name, InputForm] | None = None
    layers: Annotated[list[LayerForm], Field(min_length=1)]
    outputs: list[Name | OutputForm] | None = None
