"""Joint positions as .csv and .json, for spreadsheets and other people's code."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.body.skeleton import JOINT_NAMES, PARENTS
from models.files import atomic_file
from models.motion import Float32Array, Motion

if TYPE_CHECKING:
    from models.body.body import Body


def joint_positions(motion: Motion, body: "Body") -> Float32Array:
    """(T, J, 3) joints in metres, Y up."""
    import torch

    with torch.inference_mode():
        return body.joints(torch.tensor(motion.poses), torch.tensor(motion.trans)).numpy()


def write_csv(path: Path, motion: Motion, body: "Body") -> None:
    """One row per frame: number, time in seconds, then pelvis_x, pelvis_y, pelvis_z, left_hip_x, ..."""
    columns = [f"{name}_{axis}" for name in JOINT_NAMES[motion.body_type] for axis in "xyz"]
    # Piece by piece: the joints of an hour would fill the memory.
    written = 0
    with atomic_file(path, force=True) as file:
        file.write((",".join(("frame", "time", *columns)) + "\n").encode())
        for piece in motion.pieces():
            joints = joint_positions(piece, body)
            frames = np.arange(written, written + len(joints))
            rows = np.column_stack((frames, frames / motion.fps, joints.reshape(len(joints), -1)))
            np.savetxt(file, rows, fmt=["%d", *["%.6f"] * (rows.shape[1] - 1)], delimiter=",")
            written += len(joints)


def write_json(path: Path, motion: Motion, body: "Body") -> None:
    """An object: fps, labels, joint names and parents, and positions[frame][joint] = [x, y, z]."""
    head = {
        "name": motion.name,
        "labels": list(motion.labels),
        "fps": motion.fps,
        "unit": "metre",
        "up": "y",
        "body_type": motion.body_type,
        "joints": list(JOINT_NAMES[motion.body_type]),
        "parents": list(PARENTS[motion.body_type]),
    }
    if motion.licence:
        head["licence"] = motion.licence
    # The frames of an hour are written piece by piece into an object whose other keys came first.
    mark = ',"positions":['
    with atomic_file(path, force=True) as file:
        file.write(_json(head)[:-1])
        for piece in motion.pieces():
            joints = joint_positions(piece, body).round(6).astype(float).round(6)
            file.write(mark.encode() + _json(joints.tolist())[1:-1])
            mark = ","
        file.write(b"]}")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
