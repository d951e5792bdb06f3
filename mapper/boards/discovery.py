"""Which boards are there."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from hwspec.catalog import load, names
from mapper.arguments import checked
from mapper.emit.samna import samna_library
from mapper.errors import BoardError

__all__ = ["BoardInfo", "board_name", "find_board", "list_boards"]


@dataclass(frozen=True, slots=True)
class BoardInfo:
    """A board that is plugged in.

    Attributes
    ----------
    device
        "name:index", as users write it; the index counts boards of one type in samna's order.
    chip
        Name of its chip's specification; empty for a board this program does not know.
    device_type
        The vendor's name of its type.
    is_busy
        Whether a program has it open.
    handle
        samna's own description of it.
    """

    device: str
    chip: str
    device_type: str
    serial_number: str
    is_busy: bool
    handle: Any = field(repr=False, compare=False)


@checked
def list_boards() -> tuple[BoardInfo, ...]:
    """All boards that are plugged in.

    Raises
    ------
    BackendMissingError
        samna is not there.
    """
    library = samna_library("a look for boards")
    known = {
        device_type: (device, name)
        for name in names()
        if (emission := load(name).emission)
        for device, device_type in emission.device_types
    }
    free = {_identity(entry) for entry in library.device.get_unopened_devices()}
    counts: dict[str, int] = {}
    boards = []
    for entry in library.device.get_all_devices():
        device_type = str(entry.device_type_name)
        device, chip = known.get(device_type, (device_type, ""))
        index = counts.get(device_type, 0)
        counts[device_type] = index + 1
        busy = _identity(entry) not in free
        boards.append(
            BoardInfo(f"{device}:{index}", chip, device_type, str(entry.serial_number), busy, entry)
        )
    return tuple(boards)


def _identity(entry: Any) -> tuple[str, str]:
    return str(entry.device_type_name), str(entry.serial_number)


def board_name(device: str) -> str:
    """A device name in full: in small letters, the first of its type unless it says otherwise."""
    name = device.strip().lower()
    return name if ":" in name else f"{name}:0"


@checked
def find_board(device: str) -> BoardInfo:
    """The board of a device name; without index the first of its type.

    Raises
    ------
    BoardError
        There is no such board, or another program has it; the boards that are there are listed.
    BackendMissingError
        samna is not there.
    """
    name = board_name(device)
    boards = list_boards()
    present = [board.device for board in boards]
    for board in boards:
        if board_name(board.device) == name:
            if board.is_busy:
                raise BoardError(device, "the board is in use", "Close the program that has it open")
            return board
    presence = (
        f"Present: {', '.join(present)}" if present else "No board is plugged in, or its driver is missing"
    )
    close = get_close_matches(name, present, n=1)
    step = f"{presence}. Did you mean {close[0]}?" if close else presence
    raise BoardError(device, "no such board was found", step)
