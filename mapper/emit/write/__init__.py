"""From a placement to a configuration."""
