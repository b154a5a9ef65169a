"""Motion out of glTF files: an animation of a skeleton, sampled at a steady rate. No torch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.formats.bvh import Bvh
from data.formats.euler import euler_matrices, rotvecs_to_zyx
from data.formats.settings import ReadingSettings
from data.rigs.fit import Fit, fit_rig
from data.rigs.gltf_read import GltfFile, objects, read_gltf, whole_number
from data.rigs.gltf_rig import gltf_rig
from data.rigs.reading.read_back import read_recording_counted, undo
from data.rigs.writing.gltf import OWN_MARK
from models.body.ik import apply
from models.errors import PoseGPTError
from models.motion import Motion
from models.rotations import matrix_to_quat, quat_to_matrix, quat_to_rotvec, slerp_quats

FloatArray = NDArray[np.float64]

_RATES = np.array([24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 90.0, 100.0, 120.0, 240.0])
_USUAL = 30.0
"""Frames per second of an animation whose keys tell no rate."""
_MOST_FRAMES = 1_000_000
_PLACE = ("xposition", "yposition", "zposition")
_TURNS = ("zrotation", "yrotation", "xrotation")


@dataclass(frozen=True, eq=False)
class _Track:
    """Keys of one property of one joint."""

    joint: int
    path: str
    times: FloatArray
    """(N,) seconds, rising."""
    values: FloatArray
    """(N, 3) or (N, 4)."""
    is_step: bool


def read_gltf_motion(path: Path | str, settings: ReadingSettings | None = None) -> Motion:
    """One animation of a glTF file: the one that is asked for, else posegpt's own, else the first.

    Raises PoseGPTError if the file is damaged, or holds no person, or no motion.
    """
    settings = settings or ReadingSettings()
    file = read_gltf(path)
    animation, notes = _choose(file, settings.animation)
    fit = fit_rig(gltf_rig(file))
    extras = animation.get("extras")
    is_own = isinstance(extras, dict) and extras.get("generator") == OWN_MARK
    recording = _recording(fit, _tracks(fit, file, animation), settings.fps_in)
    recording = replace(recording, name=file.path.stem, notes=notes)
    if is_own:
        licence = str(extras.get("licence", "")) if isinstance(extras, dict) else ""
        return replace(undo(fit, recording), licence=licence)

    # A character may be built to face anywhere: its motion starts from where ours do.
    upright = _turned(recording, fit.axes)
    return read_recording_counted(upright, settings=settings).motion


def _choose(file: GltfFile, name: str | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    animations = file.items("animations")
    if not animations:
        raise PoseGPTError(
            f"{file.name} holds no animation", "put motion on it instead: rig='FILE'", parameter="rig"
        )
    names = [str(animation.get("name", "")) for animation in animations]
    if name is not None:
        if name not in names:
            raise PoseGPTError(
                f"{file.name} has no animation {name!r}", f"it has {', '.join(names)}", "animation"
            )
        return animations[names.index(name)], ()

    # Whoever puts motion into a character's file and reads it again means that motion.
    chosen = 0
    for k, animation in enumerate(animations):
        extras = animation.get("extras")
        if isinstance(extras, dict) and extras.get("generator") == OWN_MARK:
            chosen = k
            break
    notes: tuple[str, ...] = ()
    if len(animations) > 1:
        notes = (f"animation {names[chosen]!r} of {len(animations)}: animation=NAME chooses another",)
    return animations[chosen], notes


def _tracks(fit: Fit, file: GltfFile, animation: dict[str, Any]) -> list[_Track]:
    """Keys of the joints' rotations and translations; scales are passed over."""
    what = f"an animation of {file.name}"
    samplers = objects(animation, "samplers", file.name)
    where = {node: joint for joint, node in enumerate(fit.rig.nodes)}
    tracks = []
    for channel in objects(animation, "channels", file.name):
        # Weights of morph targets and scales move no joint.
        target = channel.get("target")
        if not isinstance(target, dict) or target.get("path") not in ("rotation", "translation"):
            continue
        node = target.get("node")
        joint = where.get(node, -1) if isinstance(node, int) else -1
        if joint < 0:
            continue
        sampler = samplers[whole_number(channel.get("sampler"), len(samplers), what, "its samplers")]
        times = file.accessor(sampler.get("input")).astype(float)[:, 0]
        values = file.accessor(sampler.get("output")).astype(float)
        kind = sampler.get("interpolation", "LINEAR")
        if kind == "CUBICSPLINE":
            # Each key has a tangent before and after it: the keys themselves are the middle ones.
            values = values[1::3]
        _check_keys(times, values, 4 if target["path"] == "rotation" else 3, file.name)
        tracks.append(_Track(joint, target["path"], times, values, kind == "STEP"))
    if not any(track.path == "rotation" for track in tracks):
        raise PoseGPTError(
            f"{file.name}: no joint of the skeleton moves in {what}", "choose another animation"
        )
    return tracks


def _check_keys(times: FloatArray, values: FloatArray, width: int, name: str) -> None:
    is_whole = len(times) == len(values) > 0 and values.shape[1] == width
    if not is_whole or not np.isfinite(values).all() or not np.isfinite(times).all():
        raise PoseGPTError(f"{name} is damaged: an animation has keys without values", "export it again")
    if (np.diff(times) < 0).any() or times[0] < 0:
        raise PoseGPTError(f"{name} is damaged: the keys of an animation run backwards", "export it again")


def _recording(fit: Fit, tracks: list[_Track], fps: float | None) -> Bvh:
    """The joints of a rig as a recording whose frames lie along the world's axes at rest."""
    rig = fit.rig
    assert rig.gltf is not None
    rate = fps or _rate(tracks)
    start = min(track.times[0] for track in tracks)
    end = max(track.times[-1] for track in tracks)
    n_frames = round((end - start) * rate) + 1
    if n_frames > _MOST_FRAMES:
        raise PoseGPTError(f"{rig.name} has an animation of {end - start:.0f} seconds", "cut it into parts")
    times = start + np.arange(n_frames) / rate

    # What has no keys stays as the file stores it, which need not be the rest pose.
    stored = [rig.gltf.nodes[node] if node >= 0 else None for node in rig.nodes]
    rotations = np.array([(0, 0, 0, 1.0) if node is None else node.rotation for node in stored])
    rotations = np.tile(rotations, (n_frames, 1, 1))
    translations = np.tile(rig.translations, (n_frames, 1, 1))
    placed = {0}
    for track in tracks:
        if track.path == "rotation":
            rotations[:, track.joint] = _rotations_at(track, times)
        else:
            translations[:, track.joint] = _translations_at(track, times)
            placed.add(track.joint)
    return _rest_aligned(fit, rotations, translations, placed, rate)


def _rest_aligned(
    fit: Fit, rotations: FloatArray, translations: FloatArray, placed: set[int], fps: float
) -> Bvh:
    """Local rotations (T, J, 4) and translations (T, J, 3) of the file as turns from its rest pose."""
    rig = fit.rig
    rest = rig.world_rotations
    local = quat_to_matrix(rotations)

    # A turn is what takes a joint's frame at rest, in the world, to where it is: parents before children.
    turns = np.empty_like(local)
    columns = []
    channels: list[tuple[str, ...]] = []
    positions = np.empty(translations.shape)
    world = np.empty_like(local)
    for joint, parent in enumerate(rig.parents):
        offset = translations[:, joint]
        if parent < 0:
            world[:, joint] = local[:, joint]
            positions[:, joint] = offset
            relative = offset
            turns[:, joint] = world[:, joint] @ rest[joint].T
            own = turns[:, joint]
        else:
            world[:, joint] = world[:, parent] @ local[:, joint]
            way = apply(world[:, parent], offset * rig.world_scales[parent])
            positions[:, joint] = positions[:, parent] + way
            turns[:, joint] = world[:, joint] @ rest[joint].T
            above = np.swapaxes(turns[:, parent], -1, -2)
            own = above @ turns[:, joint]
            relative = apply(above, way)

        # Only joints with keys for their place get channels for it: others keep their bones' lengths.
        if joint in placed:
            columns.append(relative)
            channels.append((*_PLACE, *_TURNS))
        else:
            channels.append(_TURNS)
        rotvecs = quat_to_rotvec(matrix_to_quat(own))
        columns.append(rotvecs_to_zyx(rotvecs[:, None])[:, 0])

    # The rest pose is that of the rig, which need not be how the file's nodes stand.
    values = np.concatenate(columns, axis=1)
    rest_pose = rig.rest
    return Bvh(
        rest_pose.names, rig.parents, rest_pose.offsets, tuple(channels), values, fps, rig.name, unit=rig.unit
    )


def _turned(bvh: Bvh, axes: FloatArray) -> Bvh:
    """A recording with all that is in it turned, its rest pose too."""
    values = bvh.values.copy()
    offsets = bvh.offsets @ axes.T
    column = 0
    for channels in bvh.channels:
        if len(channels) > 3:
            values[:, column : column + 3] = values[:, column : column + 3] @ axes.T
            column += 3
        turns = euler_matrices("ZYX", values[:, column : column + 3])
        rotvecs = quat_to_rotvec(matrix_to_quat(axes @ turns @ axes.T))
        values[:, column : column + 3] = rotvecs_to_zyx(rotvecs[:, None])[:, 0]
        column += 3
    return replace(bvh, offsets=offsets, values=values)


def _rate(tracks: list[_Track]) -> float:
    """Frames per second of the densest track."""
    keys = max((track.times for track in tracks), key=len)
    if len(keys) < 3:
        return _USUAL
    step = float(np.median(np.diff(keys)))
    if step <= 0:
        return _USUAL
    nearest = float(_RATES[np.abs(_RATES * step - 1).argmin()])
    return nearest if abs(nearest * step - 1) < 0.02 else float(np.clip(1 / step, 1.0, 240.0))


def _rotations_at(track: _Track, times: FloatArray) -> FloatArray:
    """(T, 4) unit quaternions."""
    lengths = np.linalg.norm(track.values, axis=1, keepdims=True)
    values = track.values / np.maximum(lengths, 1e-9)
    before, after, share = _neighbours(track, times)
    return slerp_quats(values[before], values[after], share[:, None])


def _translations_at(track: _Track, times: FloatArray) -> FloatArray:
    """(T, 3) in the file's units."""
    before, after, share = _neighbours(track, times)
    return np.asarray(track.values[before] + share[:, None] * (track.values[after] - track.values[before]))


def _neighbours(track: _Track, times: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Keys before and after each time, and its share of the way between them."""
    after = np.clip(np.searchsorted(track.times, times, side="right"), 0, len(track.times) - 1)
    before = np.maximum(after - 1, 0)
    span = track.times[after] - track.times[before]
    share = np.clip((times - track.times[before]) / np.where(span > 0, span, 1.0), 0.0, 1.0)
    if track.is_step:
        share = np.where(times >= track.times[after], 1.0, 0.0)
    return before, after, share
