"""Numbers as every view of a result writes them."""

from __future__ import annotations

__all__ = ["count", "destination", "share_text"]


def count(number: int, word: str) -> str:
    """A number with its word, in the plural unless it is 1."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def share_text(used: int, offered: int) -> str:
    """Whole percents, rounded down, so that only what is full says 100."""
    if not offered:
        return "-"
    percent = 100 * used // offered
    return "<1 %" if used and not percent else f"{percent} %"


def destination(name: str, pooling: int, shift: int) -> str:
    """A target with pool and feature shift, where it has them: "conv1 /2 +8"."""
    return " ".join([name] * bool(name) + [f"/{pooling}"] * (pooling != 1) + [f"+{shift}"] * (shift != 0))
