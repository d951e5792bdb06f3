"""Familiar classes over this package."""
