"""BVH files: what the reader takes, what it refuses, and what the writer makes."""

from dataclasses import replace

import numpy as np
import pytest

from data.formats.bvh import forward_kinematics, local_rotations, write_bvh, zero_pose
from data.formats.bvh_read import read_bvh
from data.retargeting.body_motion import REST_JOINTS
from data.retargeting.own_files import is_own_file
from data.retargeting.retarget import retarget
from data.synthetic import make_motion
from models.body.skeleton import n_joints
from models.errors import PoseGPTError
from models.motion import Motion
from tests.data.recordings import NAMES, naive_positions, write_bandai

SMALL = """HIERARCHY
ROOT Left hip
{
  OFFSET 0 1 0
  CHANNELS 6 Yrotation Xrotation Zrotation Zposition Xposition Yposition
  JOINT my knee
  {
    OFFSET 0 -2 0
    CHANNELS 2 Xrotation Zrotation
    End Site
    {
      OFFSET 0 -3 0.5
    }
  }
}
MOTION
Frames: 2
Frame Time: .0083333
90 0 0  3 1 2  0 0
0 0 90  0 0 0  90 0
"""


@pytest.fixture
def small(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "small.bvh"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_odd_channel_order_names_with_spaces_and_end_sites(small):
    bvh = read_bvh(small(SMALL))
    assert bvh.names == ("Left hip", "my knee")
    assert bvh.parents == (-1, 0)
    assert bvh.offsets[1].tolist() != [0.0, -3.0, 0.5]  # the End Site's
    assert bvh.channels[0][:2] == ("yrotation", "xrotation")
    assert bvh.fps == 120.0
    pose = forward_kinematics(bvh)
    np.testing.assert_allclose(pose.positions[0, 0], [1, 2, 3])
    # frame 0: 90 degrees about y leaves the knee straight below
    np.testing.assert_allclose(pose.positions[0, 1], [1, 0, 3], atol=1e-12)
    # frame 1: 90 degrees about z turns "down" into +x
    np.testing.assert_allclose(pose.positions[1, 1], [2, 0, 0], atol=1e-12)
    # and the knee's own 90 degrees about x, in the turned frame, takes its end site out of the plane
    end = pose.positions[1, 1] + pose.rotations[1, 1] @ [0, -3, 0]
    np.testing.assert_allclose(end, [2, 0, -3], atol=1e-12)
    np.testing.assert_allclose(zero_pose(bvh).positions[0], [[0, 1, 0], [0, -1, 0]])


def test_line_ends_and_byte_order_mark_do_not_matter(small):
    plain = read_bvh(small(SMALL))
    dressed = read_bvh(small(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode()))
    assert dressed.names == plain.names
    np.testing.assert_array_equal(dressed.values, plain.values)


def test_braces_on_the_joint_line(small):
    bvh = read_bvh(small(SMALL.replace("\n{", " {").replace("\n  {", " {")))
    assert bvh.names == ("Left hip", "my knee")


def test_forward_kinematics_is_the_naive_one(tmp_path):
    path = tmp_path / "walk.bvh"
    write_bandai(path, make_motion("walk", 5, seed=1))
    pose = forward_kinematics(read_bvh(path))
    expected = np.array([[frame[name] for name in NAMES] for frame in naive_positions(path)])
    np.testing.assert_allclose(pose.positions, expected, atol=1e-9)


def test_more_frames_than_declared_are_read(small):
    assert read_bvh(small(SMALL.replace("Frames: 2", "Frames: 1"))).n_frames == 2


@pytest.mark.parametrize(
    ("written", "fps"),
    [
        ("0.0333333", 30),
        ("0.033", 30),
        ("0.0333667", 29.97),
        ("0.008333", 120),
        ("0.04", 25),
        ("1.6666e-2", 60),
    ],
)
def test_frame_times_mean_whole_rates(small, written, fps):
    assert read_bvh(small(SMALL.replace(".0083333", written))).fps == pytest.approx(fps, abs=1e-3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Frames: 2", "Frames: 3", "truncated: 3 frames of 8 values declared, got 2 frames"),
        (" 90 0\n", " 90\n", "truncated"),
        ("0 0 90  0", "0 nan 90  0", "NaN or infinite values .first in frame 1"),
        ("0 0 90  0", "0 inf 90  0", "NaN or infinite"),
        ("0 0 90  0", "0 0,5 90  0", "'0,5' stands among the values"),
        ("Frames: 2\n", "", "'Frames:' and 'Frame Time:' are missing"),
        ("Frames: 2", "Frames: " + 5000 * "2", "'Frames:' and 'Frame Time:' are missing"),
        ("Frame Time: .0083333", "Frame Time: 0", "frame time must be positive"),
        ("Frame Time: .0083333", "Frame Time: 1e-320", "frame time must be positive"),
        ("CHANNELS 2 Xrotation Zrotation", "CHANNELS", "cannot be read"),
        ("CHANNELS 2 Xrotation", "CHANNELS 2 Wrotation", "channel 'Wrotation', which is not known"),
        ("CHANNELS 2", "CHANNELS 5", "cannot be read"),
        ("OFFSET 0 -2 0", "OFFSET 0 -2", "cannot be read"),
        ("OFFSET 0 -2 0", "OFFSET 0 nan 0", "cannot be read"),
        ("JOINT my knee", "JOINT Left hip", "same name"),
        ("}\nMOTION", "MOTION", "incomplete"),
        ("}\nMOTION", "}\nROOT other\n{\n}\nMOTION", "several skeletons"),
        ("    OFFSET 0 -2 0", "    garbage here", "unexpected 'garbage here'"),
        ("MOTION", "", "cut off: it has no MOTION"),
    ],
)
def test_damaged_files_are_refused_with_the_reason(small, old, new, message):
    assert old in SMALL
    with pytest.raises(PoseGPTError, match=message):
        read_bvh(small(SMALL.replace(old, new, 1)))


@pytest.mark.parametrize("content", [b"", b"  \n", b"\x00\xff\xfe\x89PNG", b"HIERARCHY", SMALL[:60].encode()])
def test_what_is_no_bvh_is_refused(small, content):
    with pytest.raises(PoseGPTError):
        read_bvh(small(content))


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(PoseGPTError, match="cannot read"):
        read_bvh(tmp_path / "none.bvh")


@pytest.mark.parametrize("body_type", ["smpl", "smplh", "smplx"])
def test_written_files_come_back_exactly(tmp_path, body_type):
    from data.formats.load import read_motion

    rng = np.random.default_rng(0)
    joints = n_joints(body_type)
    motion = Motion(
        rng.normal(size=(4, joints, 3)).astype(np.float32),
        rng.normal(size=(4, 3)).astype(np.float32),
        25.0,
        body_type,
    )
    write_bvh(tmp_path / "a.bvh", motion, rng.normal(size=(joints, 3)))
    back = read_motion(tmp_path / "a.bvh")
    assert back.body_type == body_type and back.fps == 25.0
    np.testing.assert_allclose(back.trans, motion.trans, atol=1e-6)
    from scipy.spatial.transform import Rotation

    apart = Rotation.from_rotvec(back.poses.reshape(-1, 3)).inv() * Rotation.from_rotvec(
        motion.poses.reshape(-1, 3)
    )
    assert apart.magnitude().max() < 1e-6


def test_writing_at_gimbal_lock(tmp_path):
    poses = np.zeros((1, 24, 3), np.float32)
    poses[0, 18] = [0, np.pi / 2, 0]  # the middle angle of Z Y X
    write_bvh(tmp_path / "a.bvh", Motion(poses, np.zeros((1, 3), np.float32)), np.zeros((24, 3)))
    bvh = read_bvh(tmp_path / "a.bvh")
    elbow = local_rotations(bvh, bvh.index("left_elbow"))[0]
    np.testing.assert_allclose(elbow @ [1, 0, 0], [0, 0, -1], atol=1e-6)


def test_writing_refuses_what_exists_and_wrong_joints(tmp_path):
    motion = make_motion("bow", 3)
    rest = np.concatenate([REST_JOINTS, REST_JOINTS[20:]])
    write_bvh(tmp_path / "a.bvh", motion, rest)
    with pytest.raises(PoseGPTError, match="exists already"):
        write_bvh(tmp_path / "a.bvh", motion, rest)
    with pytest.raises(PoseGPTError, match="needs rest joints"):
        write_bvh(tmp_path / "b.bvh", motion, REST_JOINTS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bvh"]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.encode("utf-16"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: text.encode() + b"\0\0\0",
        lambda text: text.replace("}\nMOTION", "} MOTION").encode(),
        lambda text: text.replace("CHANNELS 2 Xrotation", "CHANNELS 2\n    Xrotation").encode(),
        lambda text: text.replace("OFFSET 0 -2 0\n", "OFFSET 0 -2 0 ").encode(),
        lambda text: ("# by hand\n" + text.replace("{\n", "{ // opens\n", 1)).encode(),
        lambda text: text.replace("Frames: 2\n", "").replace("0083333\n", "0083333\nFrames: 2\n").encode(),
        lambda text: text.replace("Frames: 2", "Frames: 2.0").encode(),
        lambda text: text.replace("Frames: 2", "FRAMES:\t2").encode(),
    ],
)
def test_what_other_readers_take_is_read(small, change):
    plain, changed = read_bvh(small(SMALL)), read_bvh(small(change(SMALL)))
    assert (changed.names, changed.parents, changed.channels) == (plain.names, plain.parents, plain.channels)
    assert changed.fps == plain.fps
    np.testing.assert_array_equal(changed.values, plain.values)
    np.testing.assert_array_equal(changed.offsets, plain.offsets)


@pytest.mark.parametrize(
    ("written", "fps", "note"),
    [
        ("30", 30, "is a rate: read as 30 fps"),
        ("120.0", 120, "is a rate: read as 120 fps"),
        ("33.3333", 30, "is in milliseconds: read as 30 fps"),
        ("8.33", 120, "is in milliseconds: read as 120 fps"),
        ("16.6667", 60, "is in milliseconds: read as 60 fps"),
    ],
)
def test_a_frame_time_that_is_none_is_understood(small, written, fps, note):
    bvh = read_bvh(small(SMALL.replace(".0083333", written)))
    assert bvh.fps == pytest.approx(fps) and note in bvh.notes[0]


@pytest.mark.parametrize("written", ["1.0", "0.5", "3", "1000"])
def test_a_frame_time_that_may_be_anything_names_the_option(small, written):
    path = small(SMALL.replace(".0083333", written))
    with pytest.raises(PoseGPTError, match=r"frame time of .* s, which is no recording's") as caught:
        read_bvh(path)
    assert "fps_in=" in caught.value.hint
    assert read_bvh(path, fps=24).fps == 24


WITH_HANDS = np.concatenate([REST_JOINTS, REST_JOINTS[20:] + np.array([[0.1, 0, 0], [-0.1, 0, 0]])])


def test_our_files_carry_a_mark_that_numbers_do_not_show(tmp_path):
    motion = make_motion("walk", 3)
    write_bvh(tmp_path / "a.bvh", motion, WITH_HANDS)
    bvh = read_bvh(tmp_path / "a.bvh")
    assert np.signbit(bvh.offsets[0]).all() and not bvh.offsets[0].any()
    assert is_own_file(bvh)


@pytest.mark.parametrize("units", [1.0, 0.01, 10.0])
def test_names_alone_make_no_file_ours(tmp_path, units):
    """Others write SMPL's names too, in metres or millimetres: they went to the waist into the floor."""
    motion = make_motion("walk", 20)
    write_bvh(tmp_path / "ours.bvh", motion, WITH_HANDS)
    ours = read_bvh(tmp_path / "ours.bvh")
    values = ours.values.copy()
    values[:, :3] *= units
    theirs = replace(ours, offsets=0.0 + ours.offsets * units, values=values)
    assert not np.signbit(theirs.offsets[0]).any()
    # Without the mark, our own layout in our own unit is that of files of earlier versions.
    assert is_own_file(theirs) == (units == 1.0)
    found = retarget(theirs)
    joints = found.trans[:, 1] + REST_JOINTS[0, 1]
    assert 0.8 < joints.mean() < 1.0
    moved = np.ptp(found.trans[:, [0, 2]], axis=0)
    np.testing.assert_allclose(moved, np.ptp(motion.trans[:, [0, 2]], axis=0), atol=0.02)
