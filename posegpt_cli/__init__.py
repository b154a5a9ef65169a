"""The `posegpt` command: parses, reports, draws."""
