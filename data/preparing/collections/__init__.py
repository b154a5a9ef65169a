"""Public collections of motion whose files have a layout of their own."""
