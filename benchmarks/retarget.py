"""How faithful retargeting is, over a folder of BVH or ASF/AMC files: directions, bends, soles, planted feet.

python -m benchmarks.retarget FOLDER [--clips REGEX]
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from data.formats.asf import find_asf, read_amc, read_asf
from data.formats.bvh import Bvh
from data.formats.bvh_read import read_bvh
from data.retargeting.body_motion import JOINT, LIMBS, REST_JOINTS, BodyMotion
from data.retargeting.ground import Foot, contact_intervals, plant, sole_heights, source_feet
from data.retargeting.mapping.mapper import map_joints
from data.retargeting.retarget import leg_scale, source_motion, to_body, to_motion
from data.retargeting.source import Recording
from models.motion import Motion

FloatArray = NDArray[np.float64]

BENDS = {"left_knee": (1, 0, 0), "right_knee": (1, 0, 0), "left_elbow": (0, -1, 0), "right_elbow": (0, 1, 0)}
SHORTEST = 0.2
"""Seconds; shorter contacts say little of how much a planted foot drifts."""


def limb_errors(source: Recording, body: BodyMotion) -> FloatArray:
    """(T, 8) angle in degrees between each limb bone's direction before and after."""
    errors = []
    for upper, lower in LIMBS:
        before = source.bone(upper, lower)
        after = body.positions[:, JOINT[lower]] - body.positions[:, JOINT[upper]]
        sine = np.linalg.norm(np.cross(before, after), axis=-1)
        errors.append(np.rad2deg(np.arctan2(sine, (before * after).sum(-1))))
    return np.stack(errors, axis=1)


def bending_angles(motion: Motion, joint: str, minimum: float = 20.0) -> FloatArray:
    """Degrees between the axis a limb bends about and the one it should, if it bends by `minimum` or more.

    Only the swing counts: a twist along the bone (a turned forearm) is left out.
    """
    bone = REST_JOINTS[JOINT[dict(LIMBS)[joint]]] - REST_JOINTS[JOINT[joint]]
    bone = bone / np.linalg.norm(bone)
    turned = Rotation.from_rotvec(motion.poses[:, JOINT[joint]]).apply(bone)
    axes = np.cross(bone, turned)
    sine = np.linalg.norm(axes, axis=-1)
    bent = np.rad2deg(np.arctan2(sine, turned @ bone)) >= minimum
    cosine = axes[bent] @ np.array(BENDS[joint], float) / sine[bent]
    return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))


def drifts(path: FloatArray, foot: Foot, fps: float) -> list[float]:
    """Farthest that a toe joint gets from its mean place (m, horizontally) in each contact of the ball."""
    found = []
    for start, stop in contact_intervals(foot.ball_down & foot.planted):
        if stop - start >= SHORTEST * fps:
            place = path[start:stop, [0, 2]]
            found.append(float(np.linalg.norm(place - place.mean(axis=0), axis=1).max()))
    return found


def recordings(folder: Path) -> Iterator[Bvh]:
    """Every BVH and AMC file below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() == ".bvh":
            yield read_bvh(path)
        elif path.suffix.lower() == ".amc":
            yield read_amc(path, read_asf(find_asf(path, folder)))


class _Tally:
    """Figures of all clips."""

    def __init__(self) -> None:
        self.frames = 0
        self.worst_limb = 0.0
        self.leg_changes: list[FloatArray] = []
        self.bends: dict[str, list[FloatArray]] = {joint: [] for joint in BENDS}
        self.soles: dict[str, list[FloatArray]] = {"laid": [], "planted": []}
        self.drifts: dict[str, list[float]] = {"source": [], "laid": [], "planted": []}

    def add(self, bvh: Bvh) -> None:
        source = source_motion(bvh, map_joints(bvh))
        scale = leg_scale(source.recording)
        laid = to_body(source, scale)
        positions = source.recording.positions * scale
        feet = source_feet(positions, source.recording.present, bvh.fps)
        planted = plant(laid, feet, bvh.fps)

        self.frames += len(laid.positions)
        self.worst_limb = max(self.worst_limb, float(limb_errors(source.recording, laid).max()))
        legs = [k for k, (upper, _) in enumerate(LIMBS) if upper.endswith(("hip", "knee"))]
        self.leg_changes.append(limb_errors(source.recording, planted)[:, legs].ravel())
        motion = to_motion(planted, bvh.fps)
        for joint, found in self.bends.items():
            found.append(bending_angles(motion, joint))
        contacts = np.stack([foot.planted for foot in feet], axis=1)
        level = np.median(sole_heights(laid)[contacts]) if contacts.any() else 0.0
        self.soles["laid"].append((sole_heights(laid) - level)[contacts])
        self.soles["planted"].append(sole_heights(planted)[contacts])
        for side, foot in zip(("left", "right"), feet, strict=True):
            toe = JOINT[f"{side}_foot"]
            self.drifts["source"] += drifts(foot.ball, foot, bvh.fps)
            self.drifts["laid"] += drifts(laid.positions[:, toe], foot, bvh.fps)
            self.drifts["planted"] += drifts(planted.positions[:, toe], foot, bvh.fps)

    def print(self) -> None:
        print(f"{self.frames} frames; largest limb direction error {self.worst_limb:.6f} degrees")
        middle, high = np.percentile(np.concatenate(self.leg_changes), [50, 95])
        print(f"planting turns leg bones by {middle:.2f} degrees (95 %: {high:.2f})")
        for joint, found in self.bends.items():
            middle, high = np.percentile(np.concatenate(found), [50, 95])
            print(f"{joint} bends {middle:.1f} degrees off its axis (95 %: {high:.1f})")
        for name, heights in self.soles.items():
            found_heights = np.abs(np.concatenate(heights)) * 100
            print(f"planted soles, {name}: {np.percentile(found_heights, 95):.2f} cm off the floor (95 %)")
        for name, distances in self.drifts.items():
            middle, high = np.percentile(np.array(distances) * 1000, [50, 95])
            print(f"planted toes, {name}: drift {middle:.1f} mm (95 %: {high:.1f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", default="", help="file names to take (regular expression)")
    options = parser.parse_args()
    tally = _Tally()
    for bvh in recordings(options.folder):
        if re.search(options.clips, bvh.name):
            tally.add(bvh)
    tally.print()


if __name__ == "__main__":
    main()
