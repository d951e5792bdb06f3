"""Whether a board loses the first input event behind potentials that the host wrote: its self-test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mapper.arguments import checked
from mapper.asking import NO_SENSOR
from mapper.boards.board import Board
from mapper.boards.potentials import harmless_event, spike_to, writes_of
from mapper.emit.samna import chip_library
from mapper.errors import BoardError, ConfigError, Finding

__all__ = ["loses_first_event"]


@checked
def loses_first_event(board: Board, *, with_harmless_event: bool = False) -> bool:
    """Whether the first input event is lost after potentials were written, as one lab reports of its board.

    A core's potentials are written, a spike is sent to it, and the potentials are read: they show whether it
    arrived. One that did not is sent again. The slow clock stands still meanwhile; afterwards the board
    is reset.

    Parameters
    ----------
    with_harmless_event
        Send the event first that ends every `Board.reset`: whether it is enough.

    Raises
    ------
    ConfigError
        The sensor is on, so that its events arrive too; or no core has a weight, or no event is harmless.
    BoardError
        The second spike does not arrive either, or the board fails.
    """
    if board.samna_config.dvs_layer.pass_sensor_events:
        step = f"Emit it with {NO_SENSOR.to(False)} for this test"
        raise ConfigError(
            Finding("configuration", "lets the sensor's events in, beside the test's", next_step=step)
        )
    library = chip_library(board.chip, "the test of the first event")
    core, start, spike = _telling_event(board, library)
    first: list[Any] = []
    if with_harmless_event:
        first = [harmless_event(library, board.samna_config, board.used_cores)]
        if first == [None]:
            problem, step = "leaves no event that changes nothing", "Leave a core free"
            raise ConfigError(Finding("configuration", problem, next_step=step))
    writes = writes_of(library, core, board.chip.cores[core].neuron_words, start)
    with _without_ticks(board):
        try:
            board.send(writes)
            base = board.read_potentials(core)
            board.send([*writes, *first, spike])
            if board.read_potentials(core) != base:
                return False
            board.send([spike])
            if board.read_potentials(core) != base:
                return True
        finally:
            board.reset()
    step = "Run the known-answer test: scripts/deploy.py config.json --self-test known_answer.json"
    raise BoardError(board.device, f"core {core} answers to no event, so the test tells nothing", step)


@contextmanager
def _without_ticks(board: Board) -> Iterator[None]:
    """Biases would change potentials too."""
    board.switch_slow_clock(is_on=False)
    try:
        yield
    finally:
        board.switch_slow_clock(is_on=True)


def _telling_event(board: Board, library: Any) -> tuple[int, int, Any]:
    """A core, the potential to start its neurons from, and a spike that moves one of them in any case.

    A positive weight moves a neuron from −1: below the threshold by itself, and a neuron that spikes ends at
    0 or above −1. A negative one moves it from 0, to the lower bound at least, which is below 0.
    """
    cores = sorted(board.used_cores, key=lambda core: (board.chip.cores[core].parallel, core))
    for core in cores:
        layer = board.samna_config.cnn_layers[core]
        shape, weights = layer.dimensions, np.asarray(layer.weights)
        for target, feature, tap_x, tap_y in np.argwhere(weights).tolist():
            x = _reached_from(shape, "x", tap_x)
            y = _reached_from(shape, "y", tap_y)
            if x is not None and y is not None:
                value = weights[target, feature, tap_x, tap_y]
                return core, -1 if value > 0 else 0, spike_to(library, core, feature, y, x)
    step = "Emit a network with weights"
    raise ConfigError(Finding("configuration", "has no weight that an event can show", next_step=step))


def _reached_from(shape: Any, axis: str, tap: int) -> int | None:
    """Where an event reaches some neuron through a tap of the kernel; None where padding alone does."""
    size, stride, padding, outputs = (
        getattr(part, axis)
        for part in (shape.input_shape.size, shape.stride, shape.padding, shape.output_shape.size)
    )
    for neuron in range(outputs):
        place = int(neuron * stride - padding + tap)
        if 0 <= place < size:
            return place
    return None
