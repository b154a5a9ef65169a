"""Legs that are moved no more than it takes: feet may miss by millimetres, limbs keep their directions.

A nearly straight leg bends by degrees if its foot is moved by millimetres along it. Where directions matter
more than millimetres, feet are brought only to within a tolerance, and legs turn only so far.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.body.ik import apply, axis_turn, cross

FloatArray = NDArray[np.float64]

_TINY = 1e-12


@dataclass(frozen=True)
class Tolerance:
    """How exactly feet are planted, and what may be done for it."""

    way: float = 0.004
    """Metres over the floor that a foot may be off its place."""
    height: float = 0.008
    """Metres that it may be off its height."""
    turn: float = float(np.deg2rad(1.85))
    """Radians by which thigh and shin may turn."""
    swing: float = float(np.deg2rad(1.4))
    """Radians by which the line from hip to ankle may turn, of these."""
    farthest: float = 0.02
    """Metres off its place from which on a foot counts more than directions."""

    def beyond(self, by: FloatArray) -> FloatArray:
        """(T, 3) what of a foot's wanted movement exceeds the tolerance."""
        over_floor = np.linalg.norm(by[:, ::2], axis=1, keepdims=True)
        left = by.copy()
        left[:, ::2] *= np.maximum(1 - self.way / np.maximum(over_floor, _TINY), 0.0)
        left[:, 1] = np.sign(by[:, 1]) * np.maximum(np.abs(by[:, 1]) - self.height, 0.0)
        return left

    def within_reach(
        self, start: FloatArray, middle: FloatArray, end: FloatArray, target: FloatArray
    ) -> FloatArray:
        """(T, 3) the point nearest to a target that a leg reaches without turning too far.

        Args:
            start: (T, 3) hip.
            middle: (T, 3) knee.
            end: (T, 3) ankle.
            target: (T, 3) where the ankle should be.
        """
        now = end - start
        aim = target - start

        # The line from hip to ankle turns towards the target.
        normal = cross(now, aim)
        sine = np.linalg.norm(normal, axis=1, keepdims=True)
        angle = np.arctan2(sine, (now * aim).sum(axis=1, keepdims=True))
        angle = np.minimum(angle, self.swing)
        line = apply(axis_turn(normal / np.maximum(sine, _TINY), angle), now)

        # Then it takes its new length, by what is left for bending the knee.
        nearest, farthest = _distances(middle - start, end - middle, now, self.turn - angle[:, 0])
        distance = np.clip(np.linalg.norm(aim, axis=1), nearest, farthest)
        reached = start + line * (distance / np.linalg.norm(now, axis=1))[:, None]

        # Bodies of odd proportions would miss by far: their feet count more.
        miss = target - reached
        size = np.linalg.norm(miss, axis=1, keepdims=True)
        return reached + miss * np.maximum(1 - self.farthest / np.maximum(size, _TINY), 0.0)


def _distances(
    upper: FloatArray, lower: FloatArray, line: FloatArray, bend: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(T,) shortest and longest distance from hip to ankle that turn no bone by more than `bend` radians."""
    thigh, shin, now = (np.linalg.norm(bone, axis=1) for bone in (upper, lower, line))

    # The law of cosines: between each bone and the line from hip to ankle.
    at_hip = np.arccos(np.clip((thigh**2 + now**2 - shin**2) / (2 * thigh * now + _TINY), -1.0, 1.0))
    at_ankle = np.arccos(np.clip((shin**2 + now**2 - thigh**2) / (2 * shin * now + _TINY), -1.0, 1.0))
    nearest = np.maximum(_distance(thigh, shin, at_hip + bend), _distance(shin, thigh, at_ankle + bend))
    farthest = np.minimum(
        _distance(thigh, shin, np.maximum(at_hip - bend, 0.0)),
        _distance(shin, thigh, np.maximum(at_ankle - bend, 0.0)),
    )
    return nearest, farthest


def _distance(bone: FloatArray, other: FloatArray, angle: FloatArray) -> FloatArray:
    """Length of a triangle's third side, to which the first side stands at an angle."""
    height = bone * np.sin(angle)
    return np.asarray(bone * np.cos(angle) + np.sqrt(np.maximum(other**2 - height**2, 0.0)))
