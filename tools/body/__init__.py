"""Modules of tools/build_body.py, which builds the default body from CC0 MakeHuman assets."""
