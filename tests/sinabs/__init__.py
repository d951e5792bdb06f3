"""Comparisons with sinabs itself; they run in an environment of their own that has it."""
