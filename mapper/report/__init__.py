"""Results for people: terminal text."""
