"""The person in a tree of arrays: what WHAM, 4D-Humans, GVHMR, TRAM, PromptHMR and AIST++ save. No torch.

Estimators save several persons, each in the camera's coordinates and in the world's. The one that is seen
longest is taken, in the world if there is one; what else there is, is said.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.formats.joint_arrays import motion_of_array
from data.formats.safe_pickle import read_tree
from data.formats.settings import ReadingSettings
from data.formats.smpl_parameters import KEYS, has_parameters, read_parameters
from data.formats.smpl_world import to_motion
from models.errors import PoseGPTError
from models.motion import Motion

_DEEPEST = 6
"""Dictionaries and lists within one another."""
_EXPECTED = "give SMPL parameters: a dictionary with poses and trans, or global_orient, body_pose and transl"


@dataclass(frozen=True, eq=False)
class PersonTrack:
    """One dictionary of parameters in a tree."""

    place: str
    """Keys that lead to it, joined by dots."""
    arrays: Mapping[str, NDArray[Any]]
    n_frames: int

    @property
    def rank(self) -> int:
        """The world's coordinates before those that say nothing, and these before the camera's."""
        if "pose_world" in self.arrays or any(word in self.place for word in ("world", "global")):
            return 2
        return 0 if "cam" in self.place else 1


def read_smpl_tree(path: Path, settings: ReadingSettings) -> Motion:
    """Read a .pkl, .pt, .pth or .npy of SMPL parameters or joint positions.

    Raises PoseGPTError if the file cannot be read, asks for anything but arrays, or holds no person.
    """
    tree = read_tree(path)
    if isinstance(tree, np.ndarray):
        return replace(motion_of_array(tree, path.name, settings), name=path.stem)
    if isinstance(tree, Mapping):
        # MDM's results.npy: joints of all samples, the texts beside.
        motion = tree.get("motion")
        if isinstance(motion, np.ndarray) and "thetas" not in tree:
            return replace(_mdm_motion(tree, motion, path.name, settings), name=path.stem)
    return motion_of_tree(tree, path.name, settings)


def motion_of_tree(tree: Any, name: str, settings: ReadingSettings) -> Motion:
    """The person who is seen longest. Raises PoseGPTError if there is none."""
    # Two layouts have their axes the other way round: frames before persons, and frames last.
    tree = _by_person(tree) or _mdm_mesh(tree) or tree
    people = list(_people(tree, "", 0))
    if not people:
        keys = ", ".join(str(key) for key in list(tree)[:8]) if isinstance(tree, Mapping) else "no names"
        raise PoseGPTError(f"{name} holds no SMPL parameters (it has {keys})", _EXPECTED)

    # World coordinates beat camera coordinates, and then the longest track wins.
    best = max(people, key=lambda person: (person.rank, person.n_frames))
    arrays = dict(best.arrays)
    if "smpl_params" in best.place:  # GVHMR's, which are SMPL-X's without hands
        arrays["surface_model_type"] = np.array("smplx")
    parameters = read_parameters(arrays, name, set(arrays), best.place.lower())
    motion = to_motion(parameters, name, settings)
    others = sum(person.rank == best.rank for person in people) - 1
    if others:
        place = f" ({best.place})" if best.place else ""
        note = f"{others + 1} persons in the file: the one who is seen longest was taken{place}"
        motion = replace(motion, notes=(*motion.notes, note))
    return motion


def _people(tree: Any, place: str, depth: int) -> Iterator[PersonTrack]:
    """All dictionaries of parameters."""
    if depth > _DEEPEST:
        return
    if isinstance(tree, Mapping):
        names = {key for key in tree if isinstance(key, str)}
        if has_parameters(names):
            arrays = {key: array for key in names & KEYS if (array := _array(tree[key])) is not None}
            if has_parameters(arrays):
                n_frames = max(len(array) if array.ndim else 0 for array in arrays.values())
                yield PersonTrack(place, arrays, n_frames)
                return
        children = list(tree.items())
    elif isinstance(tree, Sequence) and not isinstance(tree, str | bytes):
        children = list(enumerate(tree))
    else:
        return
    for key, child in children:
        yield from _people(child, f"{place}.{key}".strip("."), depth + 1)


def _array(value: Any) -> NDArray[Any] | None:
    """A leaf as an array; a list of arrays per frame is stacked. None if it is neither numbers nor text."""
    try:
        array = np.asarray(value)
    except ValueError:  # arrays of different shapes
        return None
    return array if array.dtype.kind in "fiubUS" else None


def _by_person(tree: Any) -> dict[str, Any] | None:
    """4D-Humans' tracks: frame -> persons in it, as person -> frames. None if it is something else."""
    if not isinstance(tree, Mapping) or not tree:
        return None
    frames = [tree[key] for key in sorted(tree, key=str)]
    for frame in frames:
        if not (isinstance(frame, Mapping) and "smpl" in frame and "tracked_ids" in frame):
            return None
    # Trackers number persons anew after a cut; the one with most frames comes first.
    seen: Counter[Any] = Counter()
    for frame in frames:
        seen.update(frame["tracked_ids"])

    people: dict[str, Any] = {}
    for person, _ in seen.most_common():
        poses: dict[str, list[Any]] = {"global_orient": [], "body_pose": [], "betas": [], "camera": []}
        for frame in frames:
            ids = list(frame["tracked_ids"])
            if person not in ids:
                continue
            k = ids.index(person)
            parameters = frame["smpl"][k]
            if not isinstance(parameters, Mapping):
                continue
            for key in ("global_orient", "body_pose", "betas"):
                poses[key].append(np.asarray(parameters[key]))
            poses["camera"].append(np.asarray(frame["camera"][k]).reshape(-1)[:3])
        people[f"camera.{person}"] = poses
    return people


def _mdm_mesh(tree: Any) -> dict[str, Any] | None:
    """MDM's smpl_params.npy: 6D rotations (24, 6, T) and a path (3, T), frames first. None if it is not."""
    if not isinstance(tree, Mapping) or not {"thetas", "root_translation"} <= set(tree):
        return None
    thetas = np.asarray(tree["thetas"])
    path = np.asarray(tree["root_translation"])
    if thetas.ndim != 3 or path.ndim != 2 or thetas.shape[-1] != path.shape[-1]:
        return None
    return {"world": {"poses": np.moveaxis(thetas, -1, 0), "trans": path.T, "fps": np.array(20.0)}}


def _mdm_motion(
    tree: Mapping[Any, Any], motion: NDArray[Any], name: str, settings: ReadingSettings
) -> Motion:
    """The first sample of MDM's results, without the frames behind its end."""
    notes = []
    if motion.ndim == 4 and len(motion) > 1:
        notes.append(f"it holds {len(motion)} motions: the first was taken")
        motion = motion[:1]
    # Short samples are padded to the longest one.
    lengths = np.asarray(tree.get("lengths", ())).reshape(-1)
    if motion.ndim == 4 and len(lengths) and lengths.dtype.kind in "iu" and lengths[0] > 0:
        motion = motion[..., : int(lengths[0])]
    found = motion_of_array(motion, name, settings)
    return replace(found, notes=(*found.notes, *notes))
