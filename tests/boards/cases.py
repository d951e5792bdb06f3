"""A small configuration for boards that are fakes, and the board opened with it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

import mapper
from mapper.boards import Board, open_board
from mapper.emit.write.options import EmitOptions
from mapper.events import EVENT_DTYPE
from mapper.operations import Convolution
from tests.builders import chain, conv, weighted
from tests.stand_in.fake_boards import FakeBoards

EVENTS = np.array([(1000, 1, 2, 3), (2000, 0, 5, 4)], EVENT_DTYPE)


def configured(*, dvs: bool = False, bias: bool = False, chip: str = "speck2f", **options: Any) -> Any:
    network = chain([conv(4, has_bias=bias), Convolution(3, (8, 8))], (2, 8, 8), dvs=dvs)
    ready = weighted(network, np.random.default_rng(1), integer=True)
    result = mapper.solve(ready, mapper.load_chip(chip), monitors=("conv0",))
    return mapper.build_config(result, EmitOptions(**options))


def opened(config: Any, device: str = "speck2fmodule:0", **words: Any) -> Board:
    return open_board(device, config, settle_seconds=0.0, **words)


def deploy_script(boards: FakeBoards | None = None) -> Any:
    """`scripts/deploy.py`, as a file of its own, with boards that are fakes or none."""
    path = Path(__file__).parents[2] / "scripts" / "deploy.py"
    spec = importlib.util.spec_from_file_location("deploy", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if boards is not None:
        module.__dict__["time"] = boards.clock
    return module


def deploy(boards: FakeBoards, *words: str) -> int:
    """Its exit status; nobody presses a key."""
    return int(deploy_script(boards).main(list(words), lambda _: None))
