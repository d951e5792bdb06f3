"""Boards: found, opened, configured, written to and read, and left in a known state."""

from __future__ import annotations

from mapper.boards.board import Board, open_board
from mapper.boards.discovery import BoardInfo, find_board, list_boards
from mapper.boards.first_event import loses_first_event
from mapper.boards.listening import Listening

__all__ = [
    "Board",
    "BoardInfo",
    "Listening",
    "find_board",
    "list_boards",
    "loses_first_event",
    "open_board",
]
