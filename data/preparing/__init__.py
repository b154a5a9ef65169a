"""Recordings and annotations to a data set."""
