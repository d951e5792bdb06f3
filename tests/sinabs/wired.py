"""Random modules of sinabs' layers, chains and branches that add, that its `DynapcnnNetwork` takes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sinabs.layers as sl
import torch
from sinabs.activation import MembraneReset, MembraneSubtract, MultiSpike, SingleExponential, SingleSpike
from torch import nn

__all__ = ["Drawn", "drawn"]

Step = tuple[str, nn.Module, tuple[str, ...]]


class Wired(nn.Module):
    """Runs named steps, each of what other steps made; "x" is the input."""

    def __init__(self, steps: Sequence[Step], outputs: Sequence[str], order: Sequence[int]) -> None:
        super().__init__()
        self.steps = [(name, sources) for name, _, sources in steps]
        self.outputs = list(outputs)
        # Modules are registered in another order than they run in, as in classes that people write.
        for n in order:
            self.add_module(steps[n][0], steps[n][1])

    def forward(self, x: torch.Tensor) -> Any:
        """One tensor for one output, else a tuple."""
        made = {"x": x}
        for name, sources in self.steps:
            made[name] = getattr(self, name)(*[made[source] for source in sources])
        found = tuple(made[name] for name in self.outputs)
        return found[0] if len(found) == 1 else found


@dataclass(frozen=True)
class Drawn:
    """A module and what both classes are made with.

    Attributes
    ----------
    widths
        By layer, the width of its surrogate gradient, which no other layer has: it tells the layers apart.
    is_bounded
        Whether all layers have a lower bound.
    """

    module: nn.Module
    input_shape: tuple[int, int, int] | None
    dvs_input: bool | None
    widths: dict[str, float]
    is_bounded: bool
    is_chain: bool
    frame: tuple[int, int, int]


@dataclass
class Drawing:
    """A module while it is drawn."""

    draw: np.random.Generator
    shape: tuple[int, int, int]
    here: str = "x"
    steps: list[Step] = field(default_factory=list)
    widths: dict[str, float] = field(default_factory=dict)
    is_bounded: bool = True
    is_chain: bool = True
    outputs: list[str] = field(default_factory=list)

    def chance(self, share: float) -> bool:
        """Yes in this share of the cases."""
        return bool(self.draw.random() < share)

    def add(self, kind: str, module: nn.Module, *sources: str) -> str:
        """A step behind others; its name."""
        name = f"{kind}{len(self.steps)}"
        self.steps.append((name, module, sources))
        return name

    def neurons(self, name: str, source: str) -> str:
        """Spiking neurons of the layer whose weights have this name."""
        self.widths[name] = 0.5 + len(self.widths) / 16
        has_bound = self.chance(0.85)
        self.is_bounded = self.is_bounded and has_bound
        module = sl.IAFSqueeze(
            batch_size=1,
            spike_threshold=float(self.draw.choice([0.5, 1.0, 1.75])),
            min_v_mem=float(self.draw.choice([-0.5, -1.0, -3.0])) if has_bound else None,
            spike_fn=SingleSpike if self.chance(0.2) else MultiSpike,
            reset_fn=MembraneReset() if self.chance(0.25) else MembraneSubtract(),
            surrogate_grad_fn=SingleExponential(self.widths[name]),
        )
        return self.add("spk", module, source)

    def layer(
        self, source: str, shape: tuple[int, int, int], features: int, kernel: int, stride: int, padding: int
    ) -> tuple[str, tuple[int, int, int]]:
        """A convolution with its neurons."""
        conv = nn.Conv2d(shape[0], features, kernel, stride=stride, padding=padding, bias=self.chance(0.4))
        name = self.add("conv", conv, source)
        sizes = [(size + 2 * padding - kernel) // stride + 1 for size in shape[1:]]
        return self.neurons(name, name), (features, sizes[0], sizes[1])

    def pool(
        self, source: str, shape: tuple[int, int, int], size: int, is_average: bool
    ) -> tuple[str, tuple[int, int, int]]:
        """A pool."""
        module = nn.AvgPool2d(size) if is_average else sl.SumPool2d(size)
        return self.add("pool", module, source), (shape[0], shape[1] // size, shape[2] // size)

    def next_layer(self, *, is_last: bool = False) -> None:
        """A layer of a chain, sometimes with a pool behind it; at the end none that averages."""
        kernel = int(self.draw.integers(1, min(4, *self.shape[1:]) + 1))
        stride = int(self.draw.choice([1, 1, 2]))
        padding = int(self.draw.integers(0, (kernel + 1) // 2 + 1)) if kernel > 1 else 0
        features = int(self.draw.integers(1, 9))
        self.here, self.shape = self.layer(self.here, self.shape, features, kernel, stride, padding)
        if self.shape[1] >= 4 and self.chance(0.4):
            size = int(self.draw.choice([2, 4])) if self.shape[1] >= 8 else 2
            self.here, self.shape = self.pool(self.here, self.shape, size, not is_last and self.chance(0.5))

    def branch(self) -> None:
        """Two ways from here that add up: both of a layer, or one of nothing but a pool."""
        self.is_chain = False
        start, shape = self.here, self.shape
        is_skip, is_even = start.startswith("spk") and self.chance(0.4), shape[1] % 2 == 0
        stride = int(self.draw.choice([1, 2])) if is_even else 1
        features = shape[0] if is_skip else int(self.draw.integers(2, 7))
        left, made = self.layer(start, shape, features, 3, stride, 1)
        if is_skip:
            right = start if stride == 1 else self.pool(start, shape, 2, is_average=False)[0]
        else:
            right, _ = self.layer(start, shape, features, 1, stride, 0)
            if made[1] >= 4 and self.chance(0.4):
                is_average = self.chance(0.5)
                (left, _), (right, made) = (self.pool(way, made, 2, is_average) for way in (left, right))
        self.here, self.shape = self.add("merge", sl.Merge(), left, right), made
        self.next_layer()

    def head(self) -> None:
        """The last layer: linear, or a convolution, sometimes with a pool behind it, or two of them."""
        start, shape = self.here, self.shape
        if self.chance(0.15):
            self.is_chain = False
            self.outputs = [self.layer(start, shape, features, 1, 1, 0)[0] for features in (3, 4)]
        elif shape[1] <= 16 and self.chance(0.6):
            flat = self.add("flat", nn.Flatten(), start)
            classes = int(self.draw.integers(2, 11))
            name = self.add("fc", nn.Linear(int(np.prod(shape)), classes, bias=self.chance(0.4)), flat)
            self.outputs = [self.neurons(name, name)]
        else:
            self.next_layer(is_last=True)
            self.outputs = [self.here]


def drawn(seed: int, dvs_layer: Any) -> Drawn:
    """A random module: 2 to 8 layers on maps of 6 to 16, of which some have a sensor stage.

    Parameters
    ----------
    dvs_layer
        sinabs' class of the stage.
    """
    draw = np.random.default_rng(seed)
    torch.manual_seed(seed)
    size, features = int(draw.choice([6, 8, 12, 16])), int(draw.integers(1, 3))
    front = str(draw.choice(["host", "host", "sensor", "layer", "layer"]))
    drawing = Drawing(draw, (features, size, size))
    shape: tuple[int, int, int] | None = (features, size, size)
    frame, dvs_input = (features, size, size), None if front == "host" else True
    if front == "layer":
        stage, whole = _stage(draw, dvs_layer, size, is_merged=features == 1)
        drawing.here = drawing.add("dvs", stage, "x")
        shape, frame = None, (2, whole, whole)
        dvs_input = (None, False, True)[int(draw.integers(3))]
    for _ in range(int(draw.integers(1, 4))):
        if drawing.shape[1] >= 3 and drawing.chance(0.3):
            drawing.branch()
        else:
            drawing.next_layer()
    drawing.head()
    module = _module(drawing)
    is_chain = drawing.is_chain
    return Drawn(module, shape, dvs_input, drawing.widths, drawing.is_bounded, is_chain, frame)


def _module(drawing: Drawing) -> nn.Module:
    if drawing.is_chain:
        return nn.Sequential(OrderedDict((name, module) for name, module, _ in drawing.steps))
    order = [int(n) for n in drawing.draw.permutation(len(drawing.steps))]
    return Wired(drawing.steps, drawing.outputs, order)


def _stage(draw: np.random.Generator, dvs_layer: Any, size: int, *, is_merged: bool) -> tuple[Any, int]:
    """A stage that gives maps of a size, and the size of its sensor."""
    pool = int(draw.choice([1, 1, 2, 4]))
    margin = int(draw.choice([0, 0, 1, 3]))
    top, left = (int(n) for n in draw.integers(0, margin + 1, 2))
    crop = ((top, top + size), (left, left + size)) if margin else None
    whole = (size + margin) * pool
    flags = {name: bool(draw.integers(2)) for name in ("flip_x", "flip_y", "swap_xy", "disable_pixel_array")}
    return dvs_layer((whole, whole), pool=(pool, pool), crop=crop, merge_polarities=is_merged, **flags), whole
