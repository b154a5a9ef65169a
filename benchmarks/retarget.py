"""How faithful retargeting is, over a folder of BVH files: limb directions, bending axes, sliding feet.

python -m benchmarks.retarget FOLDER [--walks REGEX]
"""

import argparse
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from data.formats.bvh import read_bvh
from data.preparing.conversion import find_files
from data.retargeting.body_motion import JOINT, LIMBS, REST_JOINTS, BodyMotion
from data.retargeting.retarget import SourceMotion, source_motion, to_body, to_motion
from data.retargeting.skeletons import detect_skeleton
from models.motion import Motion

BENDS = {"left_knee": (1, 0, 0), "right_knee": (1, 0, 0), "left_elbow": (0, -1, 0), "right_elbow": (0, 1, 0)}


def limb_errors(source: SourceMotion, body: BodyMotion) -> NDArray[np.float64]:
    """(T, 8) angle in degrees between each limb bone's direction before and after."""
    errors = []
    for upper, lower in LIMBS:
        before, after = (m.positions[:, JOINT[lower]] - m.positions[:, JOINT[upper]] for m in (source, body))
        sine = np.linalg.norm(np.cross(before, after), axis=-1)
        errors.append(np.rad2deg(np.arctan2(sine, (before * after).sum(-1))))
    return np.stack(errors, axis=1)


def bending_angles(motion: Motion, joint: str, minimum: float = 20.0) -> NDArray[np.float64]:
    """Degrees between the axis a limb bends about and the one it should, where it bends by `minimum` or more.

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


def stance_speeds(source: SourceMotion, body: BodyMotion, fps: float) -> NDArray[np.float64]:
    """(2, n) horizontal speed (m/s) of standing toe joints, before and after.

    A foot stands where the source's toe moves by less than 0.1 m/s, all directions together.
    """
    scale = np.ptp(body.positions[:, 0, 0]) / np.ptp(source.positions[:, 0, 0])
    found = []
    for side in ("left", "right"):
        before = np.gradient(source.positions[:, JOINT[f"{side}_foot"]] * scale, axis=0) * fps
        after = np.gradient(body.positions[:, JOINT[f"{side}_foot"]], axis=0) * fps
        stands = np.linalg.norm(before, axis=-1) < 0.1
        found.append(np.stack([np.linalg.norm(v[stands][:, [0, 2]], axis=-1) for v in (before, after)]))
    return np.concatenate(found, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--walks", default="_walk_", help="file names of the walks (regular expression)")
    options = parser.parse_args()
    worst, frames, speeds = np.zeros(len(LIMBS)), 0, []
    bends: dict[str, list[NDArray[np.float64]]] = {joint: [] for joint in BENDS}
    for path in find_files(options.folder, ".bvh"):
        bvh = read_bvh(path)
        source = source_motion(bvh, detect_skeleton(bvh.names, bvh.name))
        body = to_body(source)
        motion = to_motion(body, bvh.fps)
        worst = np.maximum(worst, limb_errors(source, body).max(axis=0))
        frames += motion.n_frames
        for joint, found in bends.items():
            found.append(bending_angles(motion, joint))
        if re.search(options.walks, path.name):
            speeds.append(stance_speeds(source, body, bvh.fps))
    print(f"{frames} frames; largest limb direction error {worst.max():.6f} degrees")
    for joint, found in bends.items():
        angles = np.concatenate(found)
        median, high = np.percentile(angles, [50, 95])
        print(f"{joint} bends {median:.1f} degrees off its axis (95 %: {high:.1f})")
    if speeds:
        before, after = np.concatenate(speeds, axis=1).mean(axis=1)
        print(f"stance-foot speed on {len(speeds)} walks: {after:.4f} m/s (source {before:.4f})")


if __name__ == "__main__":
    main()
