"""What writing and reading a configuration have in common: its data, its file, its graph."""
