"""Changes that would make a network fit: they propose, the question disposes."""
