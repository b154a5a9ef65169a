"""Evaluation: protocols that turn networks and motions into reports."""
