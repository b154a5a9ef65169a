"""Motion out of files of rigs."""
