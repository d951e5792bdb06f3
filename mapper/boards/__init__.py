"""Boards: found, opened, configured, written to and read, and left in a known state."""

from __future__ import annotations

from mapper.boards.board import Board, open_board
from mapper.boards.discovery import BoardInfo, find_board, list_boards

__all__ = ["Board", "BoardInfo", "find_board", "list_boards", "open_board"]
