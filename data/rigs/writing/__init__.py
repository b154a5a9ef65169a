"""Motion on rigs to files."""
