"""Licences of motions that weights generated, for the files that show them."""

from collections.abc import Iterable

from models.motion import Motion

LICENCELESS_SUFFIXES = (".gif", ".bvh", ".csv")
"""Formats without a place for a licence that programs would find: the terminal names it."""


def licence_of(motions: Iterable[Motion]) -> str:
    """The terms of several motions, each once; empty if there are none."""
    licences = dict.fromkeys(motion.licence for motion in motions if motion.licence)
    return " ".join(licences)
