"""Any known motion-capture skeleton to SMPL: limb directions exact, feet on the floor at y = 0. No torch.

Q_smpl = G A^T, with G a source joint's global rotation and A = R_align C. C is the joint frame's orientation
in a T-pose, R_align the smallest rotation that lays the source's bone on SMPL's. Only thighs, shins, upper
arms and forearms are aligned: aligning neck or clavicles would bend the spine to fit another anatomy. Feet
are turned about the vertical only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from data.formats.bvh import Bvh, forward_kinematics, local_rotations, zero_pose
from data.formats.settings import ReadingSettings
from data.retargeting.body_motion import BONES, HIPS, JOINT, LEGS, LIMBS, OFFSETS, BodyMotion
from data.retargeting.ground import plant, source_feet
from data.retargeting.skeletons import SourceSkeleton, detect_skeleton, plain_name
from models.body.skeleton import BODY_JOINTS, BODY_PARENTS, BODY_TYPES, JOINT_NAMES, REST_PELVIS
from models.errors import PoseGPTError
from models.motion import Motion

FloatArray = NDArray[np.float64]

_REST_HINT = (
    "--t-pose-frame 0 if its first frame is a T-pose; otherwise --up or --skeleton, or export it anew"
)
_FLIP, _NO_FLIP = 1 + 2 * np.cos(np.deg2rad([120, 60]))  # traces of steps that are a flip, and none
_TWISTING = {upper: upper for upper, _ in LIMBS} | {
    f"{side}_{joint}": f"{side}_{limb}"
    for side in ("left", "right")
    for joint, limb in (("wrist", "elbow"), ("ankle", "knee"), ("foot", "knee"))
}
"""Joints whose twist may flip -> the limb about whose bone it does."""


@dataclass(frozen=True, eq=False)
class SourceMotion:
    """A motion on its own skeleton, joints in SMPL's order, Y up."""

    rotations: FloatArray
    """(T, 22, 3, 3) global rotations away from a T-pose that faces +Z."""
    positions: FloatArray
    """(T, 22, 3) global joint positions in the source's units."""
    bones: FloatArray
    """(22, 3) T-pose vector from each joint to its limb's next joint; zero for joints that begin no limb."""
    present: NDArray[np.bool_]
    """(22,) joints that the source has; the others follow their parent."""


def retarget(
    bvh: Bvh, skeleton: SourceSkeleton | None = None, reading: ReadingSettings | None = None
) -> Motion:
    """A BVH motion as SMPL's, at the file's own frame rate, feet on the floor at y = 0.

    Args:
        bvh: what `read_bvh` or `read_amc` returned.
        skeleton: which skeleton it is; None finds out from the joint names.
        reading: what the file itself does not say.

    Raises PoseGPTError where the skeleton is not known or its rest pose is not the one expected.
    """
    skeleton, reading = skeleton or detect_skeleton(bvh.names, bvh.name), reading or ReadingSettings()
    if skeleton.is_smpl:
        return _read_smpl(bvh)
    source = source_motion(bvh, skeleton, reading)
    scale = reading.scale or leg_scale(source)
    feet = source_feet(source.positions * scale, source.present, bvh.fps)
    return to_motion(plant(to_body(source, scale), feet, bvh.fps), bvh.fps, bvh.name)


def source_motion(bvh: Bvh, skeleton: SourceSkeleton, reading: ReadingSettings | None = None) -> SourceMotion:
    """The joints of `skeleton` out of a BVH file, Y up, as rotations away from a T-pose."""
    reading = reading or ReadingSettings()
    columns, places = _joint_columns(bvh, skeleton)
    if reading.t_pose_frame is None:
        rest, skip = _rest_of_skeleton(bvh, skeleton, columns, places, reading), skeleton.skip_frames
    else:
        rest, skip = _rest_of_frame(bvh, columns, places, reading), reading.t_pose_frame + 1
    values = bvh.values[skip:]
    if len(values) == 0:
        raise PoseGPTError(f"{bvh.name} holds nothing but a T-pose", "use another file")
    _check_rest_pose(rest.bones, skeleton, bvh.name, may_hang=rest.may_hang)
    pose = forward_kinematics(bvh, values)
    rotations = np.broadcast_to(np.eye(3), (len(values), 22, 3, 3)).copy()
    positions = np.zeros((len(values), 22, 3))
    present = np.zeros(22, bool)
    for name, j in columns.items():
        rotations[:, JOINT[name]] = rest.upright @ pose.rotations[:, j] @ rest.frames[name].T
        positions[:, JOINT[name]] = pose.positions[:, places[name]] @ rest.upright.T
        present[JOINT[name]] = True
    _undo_flips(rotations, rest.bones)
    return SourceMotion(rotations, positions, rest.bones, present)


def to_body(source: SourceMotion, scale: float | None = None) -> BodyMotion:
    """Lay a source's motion on SMPL's body, anchored between the hip joints.

    Args:
        source: the motion.
        scale: metres a unit of the source; None makes the legs as long as SMPL's.
    """
    alignments = np.stack([_alignment(name, source.bones).T for name in BODY_JOINTS])
    rotations = source.rotations @ alignments
    for j in np.flatnonzero(~source.present).tolist():
        rotations[:, j] = rotations[:, BODY_PARENTS[j]]
    scale = scale or leg_scale(source)
    positions = np.empty_like(source.positions)
    middle = source.positions[:, HIPS].mean(axis=1) * scale
    positions[:, 0] = middle - rotations[:, 0] @ OFFSETS[HIPS].mean(axis=0)
    for j, parent in enumerate(BODY_PARENTS[1:], start=1):
        positions[:, j] = positions[:, parent] + rotations[:, parent] @ OFFSETS[j]
    return BodyMotion(rotations, positions)


def leg_scale(source: SourceMotion) -> float:
    """Metres per unit of the source that make its legs as long as SMPL's."""
    own = np.linalg.norm(source.bones[LEGS], axis=1).sum()
    return float(np.linalg.norm(BONES[LEGS], axis=1).sum() / own)


def to_motion(body: BodyMotion, fps: float, name: str = "") -> Motion:
    """SMPL parameters of a body's motion on the floor; the hands stay at rest."""
    parents = list(BODY_PARENTS[1:])
    local = body.rotations.copy()
    local[:, 1:] = np.swapaxes(body.rotations[:, parents], -1, -2) @ body.rotations[:, 1:]
    rotvecs = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 22, 3)
    poses = np.concatenate([rotvecs, np.zeros((len(rotvecs), 2, 3))], axis=1)
    trans = body.positions[:, 0] - REST_PELVIS["smpl"]
    return Motion(poses.astype(np.float32), trans.astype(np.float32), fps, name=name)


@dataclass(frozen=True, eq=False)
class _Rest:
    """How a source rests."""

    upright: FloatArray
    """(3, 3) turn of the file's up to +Y."""
    frames: dict[str, FloatArray]
    """SMPL joint -> C, (3, 3)."""
    bones: FloatArray
    """(22, 3), as in SourceMotion."""
    may_hang: bool
    """Whether its arms may hang instead of being stretched out."""


def _joint_columns(bvh: Bvh, skeleton: SourceSkeleton) -> tuple[dict[str, int], dict[str, int]]:
    """SMPL joint -> index of the file's joint that turns it, and of the one at which it lies."""
    plain = [plain_name(name) for name in bvh.names]
    missing = [source for source in skeleton.joints.values() if source not in plain]
    if missing:
        raise PoseGPTError(
            f"{bvh.name} has no joint {missing[0]!r}, which the {skeleton.name} skeleton needs",
            "choose another --skeleton, or leave it out to find it by the joints' names",
        )
    places = {**skeleton.joints} | {
        joint: place for joint, place in skeleton.places.items() if place in plain
    }
    turning, lying = (
        {name: plain.index(source) for name, source in joints.items()} for joints in (skeleton.joints, places)
    )
    return turning, lying


def _rest_of_skeleton(
    bvh: Bvh,
    skeleton: SourceSkeleton,
    columns: dict[str, int],
    places: dict[str, int],
    reading: ReadingSettings,
) -> _Rest:
    """From the known T-pose of the skeleton, or else from the file's zero pose."""
    rest = zero_pose(bvh).positions[0]
    if skeleton.t_pose:
        upright = _upright("y" if reading.up == "auto" else reading.up)
        frames = {joint: skeleton.t_pose[joint] for joint in columns}
    else:
        hips = rest[[places["left_hip"], places["right_hip"]]]
        up = _nearest_axis(rest[places["neck"]] - hips.mean(axis=0))
        left = _nearest_axis(hips[0] - hips[1])
        if abs(up @ left) > 0 or (reading.up == "auto" and (up[0] or up.min() < 0)):
            raise PoseGPTError(
                f"{bvh.name}: its {skeleton.name} rest pose stands along neither +Y nor +Z", _REST_HINT
            )
        upright = _upright(("y" if up[1] else "z") if reading.up == "auto" else reading.up)
        frames = dict.fromkeys(columns, np.stack([left, up, np.cross(left, up)]))
    bones = np.zeros((22, 3))
    for upper, lower in LIMBS:
        bones[JOINT[upper]] = frames[upper] @ (rest[places[lower]] - rest[places[upper]])
    return _Rest(upright, frames, bones, may_hang=not skeleton.t_pose)


def _rest_of_frame(
    bvh: Bvh, columns: dict[str, int], places: dict[str, int], reading: ReadingSettings
) -> _Rest:
    """From a frame in which the person stands in a T-pose, facing any way."""
    frame = reading.t_pose_frame
    if frame is None or not 0 <= frame < bvh.n_frames:
        raise PoseGPTError(
            f"{bvh.name} has {bvh.n_frames} frames, no T-pose in frame {frame}", "0 is the first frame"
        )
    pose = forward_kinematics(bvh, bvh.values[frame : frame + 1])
    positions = pose.positions[0]
    hips = positions[[places["left_hip"], places["right_hip"]]]
    axis = _nearest_axis(positions[places["neck"]] - hips.mean(axis=0))
    upright = _upright(("z" if axis[2] else "y") if reading.up == "auto" else reading.up)
    left = upright @ (hips[0] - hips[1])
    left[1] = 0.0
    left /= max(float(np.linalg.norm(left)), 1e-12)
    up = np.array([0.0, 1.0, 0.0])
    canonical = np.stack([left, up, np.cross(left, up)]) @ upright
    bones = np.zeros((22, 3))
    for upper, lower in LIMBS:
        bones[JOINT[upper]] = canonical @ (positions[places[lower]] - positions[places[upper]])
    frames = {name: canonical @ pose.rotations[0, j] for name, j in columns.items()}
    return _Rest(upright, frames, bones, may_hang=False)


def _upright(up: str) -> FloatArray:
    """(3, 3) turn of the file's up axis, y or z, to +Y."""
    return np.eye(3) if up == "y" else np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


def _undo_flips(rotations: FloatArray, bones: FloatArray) -> None:
    """Turn back, in place, limbs that jump by half a turn about their own bone from one frame to the next.

    Optical systems lose the twist of a stretched limb, for some frames or to the end; where its bones point
    stays right. The twist that most frames have is kept.
    """
    for name, along in _TWISTING.items():
        bone = bones[JOINT[along]]
        half_turn = Rotation.from_rotvec(np.pi * bone / np.linalg.norm(bone)).as_matrix()
        turns = rotations[:, JOINT[name]]
        step = np.swapaxes(turns[:-1], -1, -2) @ turns[1:]
        plain, flipped = (np.trace(step @ m, axis1=-2, axis2=-1) for m in (np.eye(3), half_turn))
        jumps = (plain < _FLIP) & (flipped > _NO_FLIP)
        if jumps.any():
            state = np.concatenate([[0], np.cumsum(jumps) % 2]).astype(bool)
            if state.mean() > 0.5:
                state = ~state
            turns[state] = turns[state] @ half_turn


def _nearest_axis(vector: FloatArray) -> FloatArray:
    axis = np.zeros(3)
    k = int(np.abs(vector).argmax())
    axis[k] = np.sign(vector[k])
    return axis


def _check_rest_pose(bones: FloatArray, skeleton: SourceSkeleton, name: str, may_hang: bool) -> None:
    """The joint frames must be the known ones: legs down; arms out, or hanging in a zero pose."""
    for upper, lower in LIMBS:
        bone, rest = bones[JOINT[upper]], BONES[JOINT[upper]]
        length = float(np.linalg.norm(bone))
        hanging = may_hang and upper.endswith(("shoulder", "elbow"))
        if length == 0 or bone @ rest < length * np.linalg.norm(rest) * np.cos(
            np.deg2rad(100 if hanging else 45)
        ):
            raise PoseGPTError(
                f"{name} names its joints like {skeleton.name} but rests in another pose "
                f"(the bone from {upper} to {lower} points elsewhere)",
                _REST_HINT,
            )


def _alignment(name: str, bones: FloatArray) -> FloatArray:
    """R_align of a joint: (3, 3), from the source's T-pose to SMPL's."""
    side, _, joint = name.partition("_")
    if joint in ("ankle", "foot"):
        toe = OFFSETS[JOINT[f"{side}_foot"]]
        return Rotation.from_rotvec([0.0, np.arctan2(toe[0], toe[2]), 0.0]).as_matrix()
    limb = JOINT[f"{side}_elbow" if joint == "wrist" else name]  # a hand is straight on its forearm
    if bones[limb].any():
        return _smallest_rotation(bones[limb], BONES[limb])
    return np.eye(3)


def _smallest_rotation(start: FloatArray, end: FloatArray) -> FloatArray:
    """(3, 3) rotation of the direction of `start` into that of `end`, less than 180 degrees apart."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis = np.cross(start, end)
    sine = float(np.linalg.norm(axis))
    angle = np.arctan2(sine, start @ end)
    return Rotation.from_rotvec(axis / sine * angle if sine > 0 else np.zeros(3)).as_matrix()


def _read_smpl(bvh: Bvh) -> Motion:
    """A file of ours: rotations and positions are taken as they are."""
    columns = {name: j for j, name in enumerate(bvh.names)}
    body_type = next((b for b in BODY_TYPES if set(JOINT_NAMES[b]) == set(columns)), BODY_TYPES[0])
    poses = np.zeros((bvh.n_frames, len(JOINT_NAMES[body_type]), 3))
    for j, name in enumerate(JOINT_NAMES[body_type]):
        if name in columns:
            poses[:, j] = Rotation.from_matrix(local_rotations(bvh, columns[name])).as_rotvec()
    pelvis = forward_kinematics(bvh).positions[:, columns["pelvis"]] * 0.01
    trans = pelvis - REST_PELVIS[body_type]
    return Motion(poses.astype(np.float32), trans.astype(np.float32), bvh.fps, body_type, name=bvh.name)
