"""The CP-SAT model of a placement; the only package that imports OR-Tools."""
