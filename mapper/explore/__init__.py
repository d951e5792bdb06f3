"""Many networks on many chips: what fits where, by what margin, and what the rest lacks."""
