"""SMPL parameters in .npz files: AMASS's layout and its relatives read, AMASS's written. Imports no torch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.formats.settings import ReadingSettings
from data.formats.smpl_parameters import PERSON_KEYS, has_parameters, read_parameters, wanted_keys
from data.formats.smpl_world import to_motion, turn_world
from models.body.skeleton import BODY_JOINTS, JOINT_NAMES, BodyType
from models.errors import PoseGPTError
from models.files import atomic_file
from models.motion import Motion
from models.npz import read_arrays

_FIRST_OF_HANDS = [JOINT_NAMES["smplh"].index(f"{side}_index1") for side in ("left", "right")]
_NO_SMPL = "give an .npz with poses, trans and mocap_framerate, as AMASS has them"
_N_BETAS = {"smpl": 10, "smplh": 16, "smplx": 16}


def read_smpl_npz(
    path: Path | str, settings: ReadingSettings | None = None, to_fps: float | None = None
) -> Motion:
    """Read an .npz of SMPL parameters, whatever their names, shapes, world and units.

    Args:
        path: the file.
        settings: what the file does not say of itself.
        to_fps: frame rate of the result, for prepared data: without betas, gender and licence (None: the
            file's own, and all that the file says).

    Returns:
        the motion; its `notes` say what was found out or put right.

    Raises PoseGPTError if the file is damaged, holds objects, lacks a key, is of no known body, or leaves
    open what the settings can say.
    """
    path = Path(path)
    there: set[str] = set()

    def choose(names: set[str]) -> set[str]:
        there.update(names)
        wanted = wanted_keys(names)
        # Prepared data knows no persons, and many small arrays cost as much time as a large one.
        return wanted if to_fps is None else wanted - PERSON_KEYS

    # Names first: of two ways to say the same pose, only one is read.
    arrays = read_arrays(path, choose, _NO_SMPL)
    _check_names(path, there)
    parameters = read_parameters(arrays, path.name, there)
    return to_motion(parameters, path.name, settings or ReadingSettings(), to_fps)


def check_smpl_npz(path: Path) -> None:
    """Raises PoseGPTError if an .npz holds nobody's parameters, by the names of its arrays alone."""
    there: set[str] = set()

    def look(names: set[str]) -> set[str]:
        there.update(names)
        return set()

    read_arrays(path, look, _NO_SMPL)
    _check_names(path, there)


def _check_names(path: Path, there: set[str]) -> None:
    if not has_parameters(there):
        keys = ", ".join(sorted(there)[:8]) or "nothing"
        raise PoseGPTError(f"{path.name} has no 'poses' (it has {keys})", _NO_SMPL)


def write_smpl_npz(
    path: Path | str, motion: Motion, body_type: BodyType | None = "smplh", force: bool = False
) -> None:
    """Write a motion in AMASS's layout, Z up, for the loaders of both of its releases.

    `poses` holds all joints, as the SMPL-H release has it; `root_orient`, `pose_body`, `pose_hand` (SMPL-X
    also `pose_jaw` and `pose_eye`) hold the same in parts, as the SMPL-X release has it.

    Args:
        path: the file to write.
        motion: of any body type.
        body_type: what the file holds; joints that the motion lacks are at rest. None keeps the motion's own.
        force: replace an existing file.

    Raises PoseGPTError if the target exists or cannot be written.
    """
    motion = motion.to_body_type(body_type or motion.body_type)
    poses = motion.poses.astype(float)
    poses[:, 0], trans = turn_world(
        poses[:, 0], motion.trans.astype(float), motion.body_type, "+z", back=True
    )
    # Loaders expect as many betas as AMASS's files of that body have.
    betas = np.zeros(max(_N_BETAS[motion.body_type], len(motion.betas)))
    betas[: len(motion.betas)] = motion.betas
    arrays: dict[str, NDArray[Any]] = {
        "poses": poses.reshape(motion.n_frames, -1),
        "trans": trans,
        **_parts(poses, motion.body_type),
        "betas": betas,
        "num_betas": np.array(len(betas)),
        "gender": np.array(motion.gender or "neutral"),
        "surface_model_type": np.array(motion.body_type),
        "mocap_framerate": np.array(motion.fps),
        "mocap_frame_rate": np.array(motion.fps),
        "mocap_time_length": np.array(motion.duration),
        "up": np.array("z"),
        "labels": np.array(motion.labels, dtype=np.str_),
    }
    if motion.licence:
        arrays["licence"] = np.array(motion.licence)
    with atomic_file(Path(path), force) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stub


def _parts(poses: NDArray[np.float64], body_type: BodyType) -> dict[str, NDArray[np.float64]]:
    """The joints by the names of AMASS's SMPL-X release. SMPL's rigid hands are part of its body."""
    n_body = len(BODY_JOINTS) if body_type != "smpl" else poses.shape[1]
    parts = {"root_orient": poses[:, 0], "pose_body": poses[:, 1:n_body]}
    if body_type != "smpl":
        parts["pose_hand"] = poses[:, -30:]
    if body_type == "smplx":
        parts["pose_jaw"] = poses[:, n_body]
        parts["pose_eye"] = poses[:, n_body + 1 : n_body + 3]
    return {name: part.reshape(len(poses), -1) for name, part in parts.items()}


def smplh_to_smpl(motion: Motion) -> Motion:
    """An SMPL-H motion on SMPL's 24 joints: the 22 body joints and the first joint of each hand (index1).

    This is BABEL's and PoseGPT's convention for data, by position in the file. (`Motion.to_body_type` goes by
    anatomy: it takes the middle finger, which SMPL's rigid hand follows best.)
    """
    poses = motion.poses[:, [*range(len(BODY_JOINTS)), *_FIRST_OF_HANDS]]
    return replace(motion, poses=poses, body_type="smpl")
