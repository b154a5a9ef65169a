"""Rest poses: whatever the joints' frames are at rest, the same motion comes out."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.formats.bvh_read import read_bvh
from data.formats.settings import ReadingSettings
from data.retargeting.body_motion import JOINT, LIMBS
from data.retargeting.frames import RIGHT_ANGLED
from data.retargeting.mapping.mapper import map_joints
from data.retargeting.rest_pose.t_pose import leading_t_pose
from data.retargeting.retarget import retarget, source_motion
from data.retargeting.source import read_recording
from data.synthetic import make_motion
from models.errors import PoseGPTError
from models.motion import Motion
from tests.data.retargeting.test_retarget import body_positions, degrees_between
from tests.data.rigs import Z_UP, Rig, with_t_pose_first, write_rig


def walk(n_frames: int = 60) -> Motion:
    return make_motion("walk", n_frames, seed=4)


def angles_apart(found: Motion, expected: Motion) -> dict[str, float]:
    """Joint to the median angle (degrees) between two motions' local rotations."""
    apart = {}
    for name, j in JOINT.items():
        turn = Rotation.from_rotvec(found.poses[:, j]).inv() * Rotation.from_rotvec(expected.poses[:, j])
        apart[name] = float(np.degrees(np.median(turn.magnitude())))
    return apart


def assert_same_limbs(found: Motion, expected: Motion, within: float = 0.5) -> None:
    """Arms point exactly alike; planted feet may turn the legs by a little."""
    joints, wanted = body_positions(found), body_positions(expected)
    for upper, lower in LIMBS:
        bones = (p[:, JOINT[lower]] - p[:, JOINT[upper]] for p in (joints, wanted))
        limit = within if upper.endswith(("shoulder", "elbow")) else 6
        assert degrees_between(*bones).max() < limit, (upper, lower)


def hanging(sign: float) -> dict[str, Rotation]:
    """Frames of a rest pose in which arms hang (sign -1) or point straight up (sign 1)."""
    frames = {}
    for side, outward in (("left", 1), ("right", -1)):
        turn = Rotation.from_euler("z", 90 * outward * -sign, degrees=True)
        for joint in ("shoulder", "elbow", "wrist"):
            frames[f"{side}_{joint}"] = turn
        if sign > 0:
            frames[f"{side}_collar"] = turn
    return frames


def a_pose() -> dict[str, Rotation]:
    frames = {}
    for side, outward in (("left", 1), ("right", -1)):
        for joint in ("shoulder", "elbow", "wrist"):
            frames[f"{side}_{joint}"] = Rotation.from_euler("z", 45 * outward, degrees=True)
    return frames


def along_x(mirrored: bool) -> dict[str, Rotation]:
    """Every bone along its joint's +X; on the right along -X if mirrored."""
    frames = {}
    for joint in ("pelvis", "spine1", "spine2", "spine3", "neck", "head"):
        frames[joint] = Rotation.from_euler("z", 90, degrees=True)
    for side, outward in (("left", 1), ("right", -1)):
        flip = Rotation.from_euler("z", 180 if outward < 0 and not mirrored else 0, degrees=True)
        down = Rotation.from_euler("z", -90 if outward > 0 or not mirrored else 90, degrees=True)
        for joint in ("collar", "shoulder", "elbow", "wrist"):
            frames[f"{side}_{joint}"] = flip
        for joint in ("hip", "knee"):
            frames[f"{side}_{joint}"] = down
        for joint in ("ankle", "foot"):
            frames[f"{side}_{joint}"] = Rotation.from_euler("y", -90, degrees=True)
    return frames


@pytest.mark.parametrize("frames", [hanging(-1), hanging(1), a_pose()], ids=["down", "up", "a-pose"])
def test_zero_poses_that_are_no_t_pose(tmp_path, frames):
    write_rig(tmp_path / "t.bvh", walk(), Rig())
    write_rig(tmp_path / "other.bvh", walk(), Rig(frames=frames))
    expected, found = (retarget(read_bvh(tmp_path / name)) for name in ("t.bvh", "other.bvh"))
    assert_same_limbs(found, expected)
    apart = angles_apart(found, expected)
    assert max(apart.values()) < 10, apart


@pytest.mark.parametrize("frames", [along_x(False), along_x(True)], ids=["along x", "mirrored"])
def test_bones_along_x(tmp_path, frames):
    write_rig(tmp_path / "t.bvh", walk(), Rig())
    write_rig(tmp_path / "x.bvh", walk(), Rig(frames=frames))
    expected, found = (retarget(read_bvh(tmp_path / name)) for name in ("t.bvh", "x.bvh"))
    assert_same_limbs(found, expected)
    apart = angles_apart(found, expected)
    assert max(apart[f"{s}_{j}"] for s in ("left", "right") for j in ("hip", "shoulder", "collar")) < 25, (
        apart
    )
    assert max(apart[j] for j in ("pelvis", "spine1", "spine3", "head")) < 10, apart


@pytest.mark.parametrize("seed", range(4))
def test_any_right_angled_frames(tmp_path, seed):
    rng = np.random.default_rng(seed)
    frames = {joint: Rotation.from_matrix(RIGHT_ANGLED[rng.integers(24)]) for joint in JOINT}
    write_rig(tmp_path / "t.bvh", walk(), Rig())
    write_rig(tmp_path / "any.bvh", walk(), Rig(frames=frames))
    expected, found = (retarget(read_bvh(tmp_path / name)) for name in ("t.bvh", "any.bvh"))
    assert_same_limbs(found, expected)
    apart = angles_apart(found, expected)
    assert max(apart[joint] for joint in ("pelvis", "spine1", "spine2", "spine3", "head")) < 10, apart
    assert max(apart[f"{side}_{joint}"] for side in ("left", "right") for joint in ("hip", "knee")) < 25, (
        apart
    )


def test_a_root_that_turns_at_will(tmp_path):
    """IK software turns the root about Y as it likes, and turns hips and spine back."""
    motion = walk()
    write_rig(tmp_path / "t.bvh", motion, Rig())
    expected = retarget(read_bvh(tmp_path / "t.bvh"))
    text = (tmp_path / "t.bvh").read_text().splitlines()
    start = next(k for k, line in enumerate(text) if line.startswith("Frame Time")) + 1
    spin = Rotation.from_euler("Y", np.linspace(0, 500, motion.n_frames)[:, None], degrees=True)
    bvh = read_bvh(tmp_path / "t.bvh")
    values = bvh.values.copy()
    first = {"Hips": 3, "Spine": 6}
    legs = [k for k, name in enumerate(bvh.names) if name.endswith("UpLeg")]
    columns = [first["Hips"], first["Spine"], *(3 + 3 * k for k in legs)]
    for k, column in enumerate(columns):
        turn = Rotation.from_euler("ZXY", values[:, column : column + 3], degrees=True)
        turn = turn * spin if k == 0 else spin.inv() * turn
        values[:, column : column + 3] = turn.as_euler("ZXY", degrees=True)
    # Hips lie off the root's axis: the root's place makes up for nothing, so the hip line itself turns.
    rows = [" ".join(f"{value:.6f}" for value in row) for row in values]
    (tmp_path / "spun.bvh").write_text("\n".join(text[:start] + rows) + "\n")
    spun = read_bvh(tmp_path / "spun.bvh")
    found = retarget(spun)
    assert found.n_frames == expected.n_frames
    source = source_motion(spun, map_joints(spun)).recording
    line = source.bone("right_hip", "left_hip")
    joints = body_positions(found)
    assert degrees_between(joints[:, JOINT["left_hip"]] - joints[:, JOINT["right_hip"]], line).max() < 5


def test_a_t_pose_before_the_motion_is_left_out(tmp_path):
    write_rig(tmp_path / "plain.bvh", walk(), Rig())
    write_rig(tmp_path / "posed.bvh", with_t_pose_first(walk(), moved=3.5), Rig(frames=along_x(False)))
    expected, found = (retarget(read_bvh(tmp_path / name)) for name in ("plain.bvh", "posed.bvh"))
    assert found.notes == ("frame 0 is a T-pose and left out",)
    assert_same_limbs(found, expected)
    assert max(angles_apart(found, expected).values()) < 1


def test_a_t_pose_without_a_jump_is_motion(tmp_path):
    """Somebody who lowers the arms from a T-pose has recorded that."""
    motion = with_t_pose_first(walk(30))
    share = np.linspace(0, 1, 31)[:, None, None].astype(np.float32)
    slow = Motion(motion.poses[1] * share, np.repeat(motion.trans[1:2], 31, axis=0))
    write_rig(tmp_path / "slow.bvh", slow, Rig())
    bvh = read_bvh(tmp_path / "slow.bvh")
    assert leading_t_pose(read_recording(bvh, map_joints(bvh))) == 0
    assert retarget(bvh).n_frames == 31


def test_a_first_frame_that_jumps_but_is_no_t_pose_stays(tmp_path):
    motion = walk(20)
    trans = motion.trans.copy()
    trans[0, 0] += 3
    write_rig(tmp_path / "jump.bvh", Motion(motion.poses, trans), Rig())
    found = retarget(read_bvh(tmp_path / "jump.bvh"))
    assert found.n_frames == 20
    assert found.notes == ("the body jumps once, farthest by 3.0 m before frame 1",)


@pytest.mark.parametrize("units", [1.0, 1000.0, 39.37])
@pytest.mark.parametrize("world", [Rotation.identity(), Z_UP], ids=["y-up", "z-up"])
def test_units_and_up_axes_are_found(tmp_path, units, world):
    write_rig(tmp_path / "cm.bvh", walk(), Rig())
    write_rig(tmp_path / "other.bvh", walk(), Rig(units_per_metre=units, world=world))
    expected, found = (retarget(read_bvh(tmp_path / name)) for name in ("cm.bvh", "other.bvh"))
    np.testing.assert_allclose(found.poses, expected.poses, atol=1e-3)
    np.testing.assert_allclose(found.trans, expected.trans, atol=2e-3)
    says_up = "stands along +Z: read with Z up" in found.notes
    assert says_up == (world is Z_UP)
    assert any("unit is taken for" in note for note in found.notes)


def test_somebody_who_lies_is_not_stood_up(tmp_path):
    """A rest pose along +Y and a body along +Z on the floor: lying, not another axis."""
    motion = walk(20)
    poses = motion.poses.copy()
    poses[:, 0] = [-np.pi / 2, 0, 0]
    trans = np.repeat(np.float32([[0, 0.35, 5.0]]), 20, axis=0)
    write_rig(tmp_path / "lying.bvh", Motion(poses, trans), Rig())
    found = retarget(read_bvh(tmp_path / "lying.bvh"))
    np.testing.assert_allclose(found.poses[:, 0], poses[:, 0], atol=0.05)


def test_what_cannot_be_decided_names_the_option(tmp_path):
    """Lying or Z up, at the origin, flat and standing at once: only --up can tell."""
    motion = walk(20)
    poses = motion.poses.copy()
    poses[:, 0] = [np.pi / 2, 0, 0]
    trans = np.repeat(np.float32([[0, 0.3, 0.9]]), 20, axis=0)
    write_rig(tmp_path / "both.bvh", Motion(poses, trans), Rig())
    with pytest.raises(PoseGPTError) as caught:
        retarget(read_bvh(tmp_path / "both.bvh"))
    assert "up=z" in caught.value.hint and "up=y" in caught.value.hint
    for up in ("y", "z"):
        assert retarget(read_bvh(tmp_path / "both.bvh"), settings=ReadingSettings(up=up)).n_frames == 20
