"""Small motion-capture files for the tests, built joint by joint; nothing comes from a recorded data set."""

import warnings
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from data.retargeting.body_motion import JOINT, REST_JOINTS
from models.body.skeleton import BODY_PARENTS, REST_PELVIS
from models.motion import Motion

AXES = {"L": (1, 0, 0), "U": (0, 1, 0), "F": (0, 0, 1), "R": (-1, 0, 0), "D": (0, -1, 0), "B": (0, 0, -1)}

# name, parent, offset (cm), SMPL joint, where its x y z axes point in a T-pose, pitch of the flat foot
BANDAI = [
    ("joint_Root", None, (0, 0, 0), None, "LUF", 0),
    ("Hips", "joint_Root", (0, 93.9241, -3), "pelvis", "URF", 0),
    ("Spine", "Hips", (15.7357, 0, 0), "spine1", "UFL", 0),
    ("Chest", "Spine", (8.98455, -0.406207, 0), "spine3", "UFL", 0),
    ("Neck", "Chest", (16.3773, 0, 0), "neck", "UFL", 0),
    ("Head", "Neck", (6.45672, 0, 0), "head", "UFL", 0),
    ("Shoulder_L", "Chest", (12.9942, -0.242716, 4.98039), "left_collar", "LUF", 0),
    ("UpperArm_L", "Shoulder_L", (5.34809, 0, 0), "left_shoulder", "LUF", 0),
    ("LowerArm_L", "UpperArm_L", (24.3286, 0, 0), "left_elbow", "LUF", 0),
    ("Hand_L", "LowerArm_L", (22.2916, 0, 0), "left_wrist", "LUF", 0),
    ("Shoulder_R", "Chest", (12.9945, -0.242716, -4.98039), "right_collar", "LDB", 0),
    ("UpperArm_R", "Shoulder_R", (-5.34813, 0, 0), "right_shoulder", "LDB", 0),
    ("LowerArm_R", "UpperArm_R", (-24.3289, 0, 0), "right_elbow", "LDB", 0),
    ("Hand_R", "LowerArm_R", (-22.2915, 0, 0), "right_wrist", "LDB", 0),
    ("UpperLeg_L", "Hips", (-2.19248, -6.46944, 0), "left_hip", "DLF", 0),
    ("LowerLeg_L", "UpperLeg_L", (39.0811, 0, 0), "left_knee", "DLF", 0),
    ("Foot_L", "LowerLeg_L", (40.9854, 0, 0), "left_ankle", "FLU", 39.6),
    ("Toes_L", "Foot_L", (11.7543, 0, 0), "left_foot", "FLU", 23),
    ("UpperLeg_R", "Hips", (-2.19251, 6.46944, 0), "right_hip", "ULB", 0),
    ("LowerLeg_R", "UpperLeg_R", (-39.0811, 0, 0), "right_knee", "ULB", 0),
    ("Foot_R", "LowerLeg_R", (-40.9854, 0, 0), "right_ankle", "BLD", 39.6),
    ("Toes_R", "Foot_R", (-11.7543, 0, 0), "right_foot", "BLD", 23),
]
NAMES = [row[0] for row in BANDAI]
OFFSETS = {row[0]: np.array(row[2], float) for row in BANDAI}
LEG_SCALE = 0.00968  # metres of SMPL a centimetre of this skeleton, about


def t_pose() -> dict[str, Rotation]:
    """Global orientation of every joint of the Bandai skeleton in a T-pose that faces +Z."""
    frames = {}
    for name, _, _, _, letters, pitch in BANDAI:
        columns = np.array([AXES[letter] for letter in letters], float).T
        frames[name] = Rotation.from_euler("X", pitch, degrees=True) * Rotation.from_matrix(columns)
    return frames


def local_angles(globals_: dict[str, Rotation]) -> dict[str, np.ndarray]:
    """Z, X, Y angles (degrees) of every joint from global orientations; (3,) or (T, 3)."""
    angles = {}
    for name, parent, *_ in BANDAI:
        local = globals_[parent].inv() * globals_[name] if parent else globals_[name]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # gimbal lock in a T-pose is no harm
            angles[name] = local.as_euler("ZXY", degrees=True)
    return angles


def bandai_text(angles: dict[str, np.ndarray], hips: np.ndarray, frame_time: str = "0.0333333") -> str:
    """A BVH file exactly as the Bandai set has them: six channels a joint, zero End Sites.

    Args:
        angles: joint -> (T, 3) Z, X, Y degrees.
        hips: (T, 3) centimetres.
    """
    lines: list[str] = ["HIERARCHY"]

    def joint(name: str, depth: int) -> None:
        pad = "\t" * depth
        lines.extend([f"{pad}{'JOINT' if depth else 'ROOT'} {name}", pad + "{"])
        lines.append(f"{pad}\tOFFSET {' '.join(f'{v:g}' for v in OFFSETS[name])}")
        lines.append(f"{pad}\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation ")
        children = [row[0] for row in BANDAI if row[1] == name]
        for child in children:
            joint(child, depth + 1)
        if not children:
            lines.extend([f"{pad}\tEnd Site", pad + "\t{", f"{pad}\t\tOFFSET 0.0 0.0 0.0", pad + "\t}"])
        lines.append(pad + "}")

    joint("joint_Root", 0)
    n_frames = len(hips)
    columns = []
    for name in NAMES:
        columns.append(hips if name == "Hips" else np.broadcast_to(OFFSETS[name], (n_frames, 3)))
        columns.append(np.broadcast_to(angles[name], (n_frames, 3)))
    rows = np.concatenate(columns, axis=1)
    lines += ["MOTION", f"Frames:\t{n_frames}", f"Frame Time:\t{frame_time}"]
    lines += [" ".join(f"{v:.6f}" for v in row) for row in rows]
    return "\n".join(lines) + "\n"


def global_rotations(motion: Motion) -> dict[str, Rotation]:
    """(T,) global rotation of each of SMPL's 22 body joints: the naive twin of forward kinematics."""
    found: dict[str, Rotation] = {}
    names = list(JOINT)
    for j, name in enumerate(names):
        local = Rotation.from_rotvec(motion.poses[:, j])
        found[name] = local if BODY_PARENTS[j] < 0 else found[names[BODY_PARENTS[j]]] * local
    return found


def write_bandai(path: Path, motion: Motion, frame_time: str = "0.0333333") -> None:
    """Write the recording that a motion would be on the Bandai skeleton: the same limbs and hips."""
    turned = global_rotations(motion)
    frames = t_pose()
    globals_ = {
        name: turned[joint] * frames[name] if joint else Rotation.identity(motion.n_frames)
        for name, _, _, joint, *_ in BANDAI
    }
    rest_middle = (REST_JOINTS[1] + REST_JOINTS[2]) / 2 - REST_JOINTS[0]
    middle = (motion.trans + REST_PELVIS["smpl"] + turned["pelvis"].apply(rest_middle)) / LEG_SCALE
    hips = middle - globals_["Hips"].apply((OFFSETS["UpperLeg_L"] + OFFSETS["UpperLeg_R"]) / 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(bandai_text(local_angles(globals_), hips, frame_time))


def naive_positions(path: Path) -> list[dict[str, np.ndarray]]:
    """Joint positions (cm) of a Bandai-like file by scalar loops: the naive twin of the reader."""
    rows = path.read_text().split("Frame Time")[1].splitlines()[1:]
    frames = []
    for row in rows:
        values = [float(word) for word in row.split()]
        positions: dict[str, np.ndarray] = {}
        rotations: dict[str, np.ndarray] = {}
        for k, (name, parent, *_) in enumerate(BANDAI):
            x, y, z, about_z, about_x, about_y = values[6 * k : 6 * k + 6]
            local = np.eye(3)
            for axis, angle in (("z", about_z), ("x", about_x), ("y", about_y)):
                local = local @ _elementary(axis, angle)
            before = rotations[parent] if parent else np.eye(3)
            positions[name] = (positions[parent] if parent else 0) + before @ np.array([x, y, z])
            rotations[name] = before @ local
        frames.append(positions)
    return frames


def _elementary(axis: str, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def upright_text(
    joints: list[tuple[str, str | None, tuple[float, float, float]]], rows: list[list[float]]
) -> str:
    """A BVH whose zero pose stands upright: root with six channels, the others with three (Z, Y, X)."""
    lines = ["HIERARCHY"]

    def joint(name: str, depth: int) -> None:
        offset = next(o for n, _, o in joints if n == name)
        lines.extend([f"{'JOINT' if depth else 'ROOT'} {name}", "{", f"OFFSET {' '.join(map(str, offset))}"])
        place = "Xposition Yposition Zposition " if depth == 0 else ""
        lines.append(f"CHANNELS {6 if depth == 0 else 3} {place}Zrotation Yrotation Xrotation")
        children = [n for n, parent, _ in joints if parent == name]
        for child in children:
            joint(child, depth + 1)
        if not children:
            lines.extend(["End Site", "{", "OFFSET 0 0 1", "}"])
        lines.append("}")

    joint(joints[0][0], 0)
    lines += ["MOTION", f"Frames: {len(rows)}", "Frame Time: 0.0083333"]
    return "\n".join(lines + [" ".join(map(str, row)) for row in rows]) + "\n"
