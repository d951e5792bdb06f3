"""The smallest chip for some networks: sizes of memory that matter, one model, its stages."""
