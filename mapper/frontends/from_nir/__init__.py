"""Readers of NIR graphs and files."""
