"""Evaluation from Python: one request and one call per protocol."""
