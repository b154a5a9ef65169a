"""Any human skeleton to SMPL: limb directions exact, feet on the floor at y = 0. No torch.

SMPL's global rotation of a joint is Q = G A^T, with G the source joint's global rotation and A = R C. C is
the joint frame's orientation in a T-pose, and R the smallest rotation that lays the source's bone on SMPL's.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.formats.bvh import Bvh
from data.formats.settings import ReadingSettings
from data.retargeting.body_motion import BONES, HIPS, JOINT, LEGS, OFFSETS, BodyMotion
from data.retargeting.check import check_motion, check_scale
from data.retargeting.flips import undo_flips
from data.retargeting.from_positions import filled_positions, rotations_from_positions
from data.retargeting.glitches import count_glitches, repair_spikes
from data.retargeting.ground import plant, source_feet
from data.retargeting.mapping.mapper import JointMap, map_joints
from data.retargeting.mapping.skeletons import SourceSkeleton
from data.retargeting.own_files import is_own_file, read_own_file
from data.retargeting.rest_pose.rest import Rest, find_rest
from data.retargeting.rest_pose.t_pose import leading_t_pose
from data.retargeting.rest_pose.upright import find_upright
from data.retargeting.source import Z_UPRIGHT, Recording, read_recording
from models.body.skeleton import BODY_PARENTS, REST_PELVIS
from models.errors import PoseGPTError
from models.motion import Motion
from models.rotations import matrix_to_quat, quat_to_rotvec, rotvec_to_quat

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SourceMotion:
    """A recording that is understood: what its joints are, which way is up, and how they rest."""

    recording: Recording
    """Y up, without a T-pose at the start."""
    rest: Rest
    notes: tuple[str, ...]
    """What was found out or put right."""


class RetargetedMotion(NamedTuple):
    """A motion, and the steps from frame to frame in which some joint of it jumps."""

    motion: Motion
    glitches: int


def retarget(
    bvh: Bvh, skeleton: SourceSkeleton | None = None, settings: ReadingSettings | None = None
) -> Motion:
    """A recording as SMPL's motion, at the file's own frame rate, feet on the floor at y = 0.

    Args:
        bvh: what `read_bvh` or `read_amc` returned.
        skeleton: which skeleton it is; None finds out.
        settings: what the file itself does not say.

    Raises PoseGPTError if the skeleton is not known, or the result does not fit the file's joint positions.
    """
    return retarget_counted(bvh, skeleton, settings).motion


def retarget_counted(
    bvh: Bvh, skeleton: SourceSkeleton | None = None, settings: ReadingSettings | None = None
) -> RetargetedMotion:
    """`retarget`, and how often a joint jumps in what came out."""
    settings = settings or ReadingSettings()

    # Files of our own hold SMPL's rotations as they are: nothing is to be found out.
    if skeleton is None and is_own_file(bvh):
        motion = read_own_file(bvh)
        return RetargetedMotion(motion, count_glitches(rotvec_to_quat(motion.poses)))

    # Laid on SMPL's body, then put on the floor: contacts are the source's, at the body's size.
    source = source_motion(bvh, map_joints(bvh, skeleton), settings)
    scale = settings.scale or leg_scale(source.recording)
    check_scale(source.recording, scale)
    laid = to_body(source, scale)
    recording = source.recording

    # Where the source's feet stand, ours must: legs of other proportions would float or swim.
    feet = source_feet(recording.positions * scale, recording.present, bvh.fps)
    body = plant(laid, feet, bvh.fps)
    notes = source.notes + check_motion(recording, body, scale, says_unit=bool(bvh.unit or settings.scale))
    return _to_counted_motion(body, bvh.fps, bvh.name, bvh.notes + notes)


def source_motion(bvh: Bvh, joints: JointMap, settings: ReadingSettings | None = None) -> SourceMotion:
    """The body's joints out of a file, Y up, and how they rest.

    Raises PoseGPTError if there is no such T-pose frame, or the axis that points up cannot be told.
    """
    settings = settings or ReadingSettings()
    recording = read_recording(bvh, joints)
    if recording.leg_length <= 0:
        raise PoseGPTError(f"{bvh.name} has legs without length", "use another file")
    notes = []

    # Everything after this is told in a world with Y up.
    upright = find_upright(recording, settings.up)
    if upright is Z_UPRIGHT and settings.up == "auto":
        notes.append("stands along +Z: read with Z up")
    recording = recording.turned(upright)

    # A T-pose before the motion is no motion, but tells how the joints rest.
    t_pose = settings.t_pose_frame
    skip = leading_t_pose(recording) if t_pose is None else t_pose + 1
    if t_pose is not None and t_pose >= recording.n_frames:
        raise PoseGPTError(
            f"{bvh.name} has {recording.n_frames} frames, no T-pose in frame {t_pose}",
            "0 is the first frame",
        )
    if t_pose is None and skip:
        t_pose = 0
        frames = "frame 0 is" if skip == 1 else f"frames 0 to {skip - 1} are"
        notes.append(f"{frames} a T-pose and left out")
    if skip >= recording.n_frames:
        raise PoseGPTError(f"{bvh.name} holds nothing but a T-pose", "use another file")
    motion = recording.frames(slice(skip, None))
    rest = find_rest(recording, motion, t_pose, settings.t_pose_frame is not None)
    if rest.by_position:
        notes.append("the frames of its joints fit no rest pose: rotations are fitted to joint positions")
    return SourceMotion(motion, rest, tuple(notes))


def to_body(source: SourceMotion, scale: float | None = None) -> BodyMotion:
    """Lay a source's motion on SMPL's body, anchored between the hip joints.

    Args:
        source: the motion.
        scale: metres per unit of the source; None makes the legs as long as SMPL's.
    """
    recording = source.recording

    # Q = G A^T for every joint at once.
    rotations = recording.rotations @ np.swapaxes(source.rest.alignments, -1, -2)
    if source.rest.by_position:
        fitted = rotations_from_positions(filled_positions(recording))
        for joint in source.rest.by_position:
            rotations[:, JOINT[joint]] = fitted[:, JOINT[joint]]
    undo_flips(rotations)

    # Joints that the file lacks move with their parents.
    for j, parent in enumerate(BODY_PARENTS):
        if not recording.present[j]:
            rotations[:, j] = rotations[:, parent]

    # The middle of the hips is where both bodies agree; all else follows by the bones of SMPL.
    scale = scale or leg_scale(recording)
    positions = np.empty_like(recording.positions)
    middle = recording.hips_middle() * scale
    positions[:, 0] = middle - rotations[:, 0] @ OFFSETS[HIPS].mean(axis=0)
    for j, parent in enumerate(BODY_PARENTS[1:], start=1):
        positions[:, j] = positions[:, parent] + rotations[:, parent] @ OFFSETS[j]
    return BodyMotion(rotations, positions)


def leg_scale(recording: Recording) -> float:
    """Metres per unit that make a recording's legs as long as SMPL's."""
    own = np.linalg.norm(BONES[LEGS], axis=1).sum() / 2
    return float(own / recording.leg_length)


def to_motion(body: BodyMotion, fps: float, name: str = "", notes: tuple[str, ...] = ()) -> Motion:
    """SMPL parameters of a body's motion on the floor, single-frame spikes repaired; hands stay at rest."""
    return _to_counted_motion(body, fps, name, notes).motion


def _to_counted_motion(body: BodyMotion, fps: float, name: str, notes: tuple[str, ...]) -> RetargetedMotion:
    parents = list(BODY_PARENTS[1:])
    local = body.rotations.copy()
    local[:, 1:] = np.swapaxes(body.rotations[:, parents], -1, -2) @ body.rotations[:, 1:]
    # One stage of quaternions for all that is done to single rotations.
    quats = matrix_to_quat(local)
    quats /= np.linalg.norm(quats, axis=-1, keepdims=True)
    repair_spikes(quats)
    rotvecs = quat_to_rotvec(quats)
    poses = np.concatenate([rotvecs, np.zeros((len(rotvecs), 2, 3))], axis=1)
    trans = body.positions[:, 0] - REST_PELVIS["smpl"]
    motion = Motion(poses.astype(np.float32), trans.astype(np.float32), fps, name=name, notes=notes)
    return RetargetedMotion(motion, count_glitches(quats))
