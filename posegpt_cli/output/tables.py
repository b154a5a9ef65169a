"""Joint positions as .csv and .json, for spreadsheets and other people's code."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.files import write_atomically
from models.motion import Float32Array, Motion
from models.skeleton import JOINT_NAMES, PARENTS

if TYPE_CHECKING:
    from models.body import Body


def joint_positions(motion: Motion, body: "Body") -> Float32Array:
    """(T, J, 3) joints in metres, Y up."""
    import torch

    with torch.inference_mode():
        return body.joints(torch.tensor(motion.poses), torch.tensor(motion.trans)).numpy()


def write_csv(path: Path, motion: Motion, body: "Body") -> None:
    """One row a frame: its number, its time in seconds, then pelvis_x, pelvis_y, pelvis_z, left_hip_x, ..."""
    columns = [f"{name}_{axis}" for name in JOINT_NAMES[motion.body_type] for axis in "xyz"]
    frames = np.arange(motion.n_frames)
    rows = np.column_stack(
        (frames, frames / motion.fps, joint_positions(motion, body).reshape(motion.n_frames, -1))
    )
    text = io.StringIO()
    text.write(",".join(("frame", "time", *columns)) + "\n")
    np.savetxt(text, rows, fmt=["%d", *["%.6f"] * (rows.shape[1] - 1)], delimiter=",")
    write_atomically(path, text.getvalue().encode(), force=True)


def write_json(path: Path, motion: Motion, body: "Body") -> None:
    """An object: fps, labels, joint names and parents, and positions[frame][joint] = [x, y, z]."""
    content = {
        "name": motion.name,
        "labels": list(motion.labels),
        "fps": motion.fps,
        "unit": "metre",
        "up": "y",
        "body_type": motion.body_type,
        "joints": list(JOINT_NAMES[motion.body_type]),
        "parents": list(PARENTS[motion.body_type]),
        "positions": joint_positions(motion, body).round(6).astype(float).round(6).tolist(),
    }
    write_atomically(path, json.dumps(content, separators=(",", ":")).encode(), force=True)
