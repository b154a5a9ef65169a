"""Retargeting to SMPL: limb directions, bending axes, floor, and the skeletons it knows."""

import warnings

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.formats.bvh_read import read_bvh
from data.formats.settings import ReadingSettings
from data.retargeting.body_motion import JOINT, LIMBS, REST_JOINTS, SOLE
from data.retargeting.mapping.mapper import map_joints
from data.retargeting.mapping.skeletons import KNOWN_SKELETONS
from data.retargeting.rest_pose.known_frames import KNOWN_FRAMES
from data.retargeting.retarget import retarget, source_motion, to_body
from data.synthetic import ACTIONS, make_motion
from models.body.skeleton import BODY_PARENTS, REST_PELVIS
from models.errors import PoseGPTError
from models.motion import Motion
from tests.data.recordings import (
    bandai_text,
    global_rotations,
    local_angles,
    naive_positions,
    t_pose,
    upright_text,
    write_bandai,
)


def body_positions(motion: Motion) -> np.ndarray:
    """(T, 22, 3) joints of a motion, metres: forward kinematics spelt out."""
    turned = list(global_rotations(motion).values())
    positions = np.zeros((motion.n_frames, 22, 3))
    positions[:, 0] = motion.trans + REST_PELVIS["smpl"]
    for j in range(1, 22):
        parent = BODY_PARENTS[j]
        positions[:, j] = positions[:, parent] + turned[parent].apply(REST_JOINTS[j] - REST_JOINTS[parent])
    return positions


def degrees_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)))


BANDAI_OF = {
    "hip": "UpperLeg", "knee": "LowerLeg", "ankle": "Foot", "shoulder": "UpperArm", "elbow": "LowerArm",
    "wrist": "Hand",
}  # fmt: skip


def bandai_name(joint: str) -> str:
    side, _, part = joint.partition("_")
    return f"{BANDAI_OF[part]}_{side[0].upper()}"


def test_rest_joints_are_the_default_bodys():
    from models.body.body import load_body

    body = load_body("smpl").rest_joints[:22].numpy()
    assert np.abs(body - REST_JOINTS).max() < 1e-3
    assert REST_JOINTS[0] == pytest.approx(REST_PELVIS["smpl"])


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_limb_directions_are_the_sources(tmp_path, action):
    path = tmp_path / f"{action}.bvh"
    write_bandai(path, make_motion(action, 20, seed=3))
    bvh = read_bvh(path)
    laid = to_body(source_motion(bvh, map_joints(bvh))).positions
    joints = body_positions(retarget(bvh))
    source = naive_positions(path)
    for upper, lower in LIMBS:
        before = np.array([frame[bandai_name(lower)] - frame[bandai_name(upper)] for frame in source])
        assert degrees_between(before, laid[:, JOINT[lower]] - laid[:, JOINT[upper]]).max() < 1e-4
        after = joints[:, JOINT[lower]] - joints[:, JOINT[upper]]
        # Planted feet move the legs by a little.
        is_leg = upper.endswith(("hip", "knee"))
        assert degrees_between(before, after).max() < (12 if is_leg else 0.1), (upper, lower)


def test_a_retargeted_walk_is_the_walk_that_was_recorded(tmp_path):
    motion = make_motion("walk", 40, seed=5)
    write_bandai(tmp_path / "walk.bvh", motion)
    found = retarget(read_bvh(tmp_path / "walk.bvh"))
    assert (found.n_frames, found.fps, found.body_type, found.name) == (40, 30.0, "smpl", "walk")
    # the synthetic recording has SMPL's rotations: what differs is the constant alignment of bones and feet
    for name in ("pelvis", "spine3", "neck", "left_shoulder", "right_hip", "left_knee"):
        apart = Rotation.from_rotvec(found.poses[:, JOINT[name]]).inv() * Rotation.from_rotvec(
            motion.poses[:, JOINT[name]]
        )
        assert np.degrees(apart.magnitude().max()) < 12, name
        assert np.degrees(np.ptp(apart.magnitude())) < 4, name
    moved = found.trans - found.trans[0] - (motion.trans - motion.trans[0])
    assert np.abs(moved).max() < 0.02
    assert not found.poses[:, 22:].any()


@pytest.mark.parametrize(
    ("joint", "about_y", "smpl", "axis"),
    [
        ("LowerLeg_L", 60, "left_knee", (1, 0, 0)),
        ("LowerLeg_R", 60, "right_knee", (1, 0, 0)),
        ("LowerArm_L", -60, "left_elbow", (0, -1, 0)),
        ("LowerArm_R", -60, "right_elbow", (0, 1, 0)),
    ],
)
def test_limbs_bend_about_the_right_axis(tmp_path, joint, about_y, smpl, axis):
    """Knees and elbows of the Bandai skeleton bend about their own y axis; SMPL's about X and Y."""
    angles = local_angles(t_pose())
    bent = {name: np.array(a) for name, a in angles.items()}
    bent[joint] = bent[joint] + [0, 0, about_y]
    path = tmp_path / "bent.bvh"
    path.write_text(bandai_text(bent, np.array([[0.0, 93.9, 0.0]] * 2)))
    poses = retarget(read_bvh(path)).poses[0]
    rotvec = poses[JOINT[smpl]]
    assert np.degrees(np.linalg.norm(rotvec)) == pytest.approx(60, abs=5)
    assert degrees_between(rotvec, np.array(axis, float)) < 12
    others = [j for j in range(22) if j != JOINT[smpl] and "ankle" not in smpl]
    assert np.degrees(np.linalg.norm(poses[others], axis=1)).max() < 20


def test_a_t_pose_is_smpls_rest_pose_on_the_floor(tmp_path):
    path = tmp_path / "t.bvh"
    path.write_text(bandai_text(local_angles(t_pose()), np.array([[0.0, 93.9, 0.0]] * 3)))
    motion = retarget(read_bvh(path))
    assert np.degrees(np.linalg.norm(motion.poses[:, 0], axis=-1)).max() < 1e-3
    joints = body_positions(motion)[0]
    for upper, lower in LIMBS:
        rest = REST_JOINTS[JOINT[lower]] - REST_JOINTS[JOINT[upper]]
        # the source's legs are straight down, SMPL's stand a little apart
        assert degrees_between(joints[JOINT[lower]] - joints[JOINT[upper]], rest) < 8
    # soles at 0: the pelvis is as high as it is over the soles in the rest pose, give or take the leg's angle
    assert joints[0, 1] == pytest.approx(REST_JOINTS[0, 1] - SOLE, abs=0.01)
    assert joints[0, 1] == pytest.approx(0.935, abs=0.01)


def test_standing_feet_do_not_slide(tmp_path):
    """A foot that the source holds still stays still, although the anatomy differs."""
    path = tmp_path / "walk.bvh"
    write_bandai(path, make_motion("walk", 90, seed=2))
    joints = body_positions(retarget(read_bvh(path)))
    source = naive_positions(path)
    scale = 0.00968
    speeds = []
    for side, name in (("left", "Toes_L"), ("right", "Toes_R")):
        before = np.gradient(np.array([frame[name] for frame in source]) * scale, axis=0) * 30
        after = np.gradient(joints[:, JOINT[f"{side}_foot"]], axis=0) * 30
        stands = np.linalg.norm(before, axis=1) < 0.1
        assert stands.sum() > 10
        speeds.append(np.linalg.norm(after[stands] - before[stands], axis=1).mean())
    assert max(speeds) < 0.03


def test_a_jump_does_not_sink(tmp_path):
    """The floor is where feet rest; frames in the air, and a leg in the air, do not raise or lower it."""
    jump = make_motion("bow", 60, seed=0)
    trans = jump.trans.copy()
    height = 0.5 * np.sin(np.linspace(0, np.pi, 30)).clip(0)
    trans[15:45, 1] += height
    write_bandai(tmp_path / "bow.bvh", jump)
    write_bandai(tmp_path / "jump.bvh", Motion(jump.poses, trans))
    still, jumped = (retarget(read_bvh(tmp_path / f"{name}.bvh")) for name in ("bow", "jump"))
    np.testing.assert_allclose(jumped.trans[0], still.trans[0], atol=2e-3)
    assert jumped.trans[30, 1] - still.trans[30, 1] == pytest.approx(0.5, abs=0.01)


def test_a_floor_elsewhere_is_moved_to_zero(tmp_path):
    motion = make_motion("wave", 10)
    write_bandai(tmp_path / "a.bvh", motion)
    write_bandai(tmp_path / "b.bvh", Motion(motion.poses, motion.trans + np.float32([0, 1.7, 0])))
    a, b = (retarget(read_bvh(tmp_path / f"{name}.bvh")) for name in "ab")
    np.testing.assert_allclose(a.trans, b.trans, atol=1e-5)


def test_one_frame_is_enough(tmp_path):
    write_bandai(tmp_path / "a.bvh", make_motion("walk", 1))
    assert retarget(read_bvh(tmp_path / "a.bvh")).n_frames == 1


def test_hips_carried_by_a_moving_root_joint(tmp_path):
    """Four recorded clips of the Bandai set also move joint_Root: regression."""
    angles = local_angles(t_pose())
    angles["joint_Root"] = np.array([0.0, 0.0, 90.0])  # about y
    path = tmp_path / "root.bvh"
    path.write_text(bandai_text(angles, np.array([[10.0, 93.9, 0.0]])))
    motion = retarget(read_bvh(path))
    np.testing.assert_allclose(motion.poses[0, 0], [0, np.pi / 2, 0], atol=1e-5)
    assert motion.trans[0, 2] + REST_PELVIS["smpl"][2] < -0.09  # 10 cm along x became -z


# An upright skeleton by parts: where each joint is, in its file's units.
def upright(
    names: dict[str, str], arms: str = "out"
) -> list[tuple[str, str | None, tuple[float, float, float]]]:
    """Joints of a T-posed (or, with hanging arms, straight) skeleton for SMPL joint -> name."""
    joints = []
    for j, name in enumerate(JOINT):
        if name not in names:
            continue
        parent = BODY_PARENTS[j]
        while parent >= 0 and list(JOINT)[parent] not in names:
            parent = BODY_PARENTS[parent]
        origin = REST_JOINTS[parent] if parent >= 0 else np.zeros(3)
        offset = (REST_JOINTS[j] - origin) * 100 if parent >= 0 else np.zeros(3)
        if arms == "hanging" and name.endswith(("elbow", "wrist")):
            offset = np.array([0, -np.linalg.norm(offset), 0])
        joints.append(
            (names[name], names[list(JOINT)[parent]] if parent >= 0 else None, tuple(offset.round(6)))
        )
    return joints


@pytest.mark.parametrize("skeleton", KNOWN_SKELETONS)
@pytest.mark.parametrize(("prefix", "arms"), [("", "out"), ("mixamorig7:", "out"), ("", "hanging")])
def test_upright_skeletons(tmp_path, skeleton, prefix, arms):
    """The zero pose becomes a person with the same limbs; a bent knee bends the knee."""
    joints = upright({joint: prefix + name for joint, name in skeleton.joints.items()}, arms)
    still = [0, 90, 0] + [0.0] * 3 * len(joints)
    bent = list(still)
    order = _file_order(joints)
    bent[3 + 3 * order.index(prefix + skeleton.joints["left_knee"]) + 2] = 50.0
    path = tmp_path / "a.bvh"
    path.write_text(upright_text(joints, [still, still, bent]))
    bvh = read_bvh(path)
    found_map = map_joints(bvh)
    for joint, name in skeleton.joints.items():
        assert bvh.names[found_map.turning[joint]] == prefix + name, joint
    motion = retarget(bvh)
    assert motion.n_frames == 3 and motion.fps == 120.0
    found = body_positions(motion)[0]
    places = {name: np.array(offset) for name, _, offset in joints}
    for upper, lower in LIMBS:
        bone = places[prefix + skeleton.joints[lower]]
        assert degrees_between(found[JOINT[lower]] - found[JOINT[upper]], bone) < 0.1
    elbow = motion.poses[0, JOINT["left_wrist"]]
    assert np.degrees(np.linalg.norm(elbow)) < 5, "a straight hand stays straight, hanging arms or not"
    knee = motion.poses[2, JOINT["left_knee"]]
    assert np.degrees(np.linalg.norm(knee - motion.poses[0, JOINT["left_knee"]])) == pytest.approx(50, abs=3)
    assert degrees_between(knee, np.array([1.0, 0, 0])) < 12


def _file_order(joints) -> list[str]:
    def below(name):
        return [name] + [n for child, parent, _ in joints if parent == name for n in below(child)]

    return below(joints[0][0])


def test_a_z_up_file_that_faces_minus_x_stands_up(tmp_path):
    """Zero pose in a world with Z up: up and facing are read off the skeleton."""
    mixamo = next(s for s in KNOWN_SKELETONS if s.name == "Mixamo")
    turn = Rotation.from_matrix(np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]], float))  # left -> -y, up -> z
    joints = [(n, p, tuple(turn.apply(o).round(6))) for n, p, o in upright(dict(mixamo.joints))]
    still = [0.0, 0.0, 90.0] + [0.0] * 3 * len(joints)
    path = tmp_path / "a.bvh"
    path.write_text(upright_text(joints, [still, still]))
    motion = retarget(read_bvh(path))
    joints_now = body_positions(motion)[0]
    assert joints_now[JOINT["head"], 1] > 1.4 and abs(joints_now[JOINT["left_foot"], 1]) < 0.06
    # left was -y; in a world turned to Y up that is +z: the person faces -x
    np.testing.assert_allclose(motion.poses[0, 0], [0, -np.pi / 2, 0], atol=1e-5)


def test_lafan1_bones_along_x(tmp_path):
    """LAFAN1's names on bones along +X, in the joint angles of a T-pose: about SMPL's rest pose."""
    skeleton = next(s for s in KNOWN_SKELETONS if s.name == "LAFAN1")
    parents = {
        name: next((p for p in _ancestors(j) if p in skeleton.joints), None) for j, name in enumerate(JOINT)
    }
    known = KNOWN_FRAMES["LAFAN1"]
    frames = {joint: Rotation.from_matrix(known[joint]) for joint in skeleton.joints}
    joints, rows = [], [0.0, 90.0, 0.0]
    for joint, name in skeleton.joints.items():
        parent = parents[joint]
        offset = np.zeros(3)
        if parent:
            bone = (REST_JOINTS[JOINT[joint]] - REST_JOINTS[JOINT[parent]]) * 100
            offset = frames[parent].inv().apply(bone)
            if (parent, joint) in LIMBS:
                offset = np.array([np.linalg.norm(bone), 0, 0])
        joints.append((name, skeleton.joints[parent] if parent else None, tuple(offset.round(6))))
    local = {
        skeleton.joints[j]: (frames[parents[j]].inv() * frames[j] if parents[j] else frames[j])
        for j in frames
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # gimbal lock in a T-pose is no harm
        for name in _file_order(joints):
            rows += local[name].as_euler("ZYX", degrees=True).tolist()
    kneeling = list(rows)
    kneeling[3 + 3 * _file_order(joints).index("LeftLeg")] -= (
        60  # LAFAN1's knees bend with a negative z angle
    )
    path = tmp_path / "a.bvh"
    path.write_text(upright_text(joints, [rows, kneeling]))
    motion = retarget(read_bvh(path))
    assert np.degrees(np.linalg.norm(motion.poses[0], axis=-1)).max() < 15
    knee = motion.poses[1, JOINT["left_knee"]] - motion.poses[0, JOINT["left_knee"]]
    assert np.degrees(np.linalg.norm(knee)) == pytest.approx(60, abs=3)
    assert degrees_between(knee, np.array([1.0, 0, 0])) < 12
    found = body_positions(motion)[0]
    assert (
        degrees_between(found[JOINT["left_wrist"]] - found[JOINT["left_shoulder"]], np.array([1, 0, 0])) < 0.1
    )
    assert (
        degrees_between(found[JOINT["right_ankle"]] - found[JOINT["right_hip"]], np.array([0, -1, 0])) < 0.1
    )


def _ancestors(j: int) -> list[str]:
    names = list(JOINT)
    return [] if BODY_PARENTS[j] < 0 else [names[BODY_PARENTS[j]], *_ancestors(BODY_PARENTS[j])]


def test_legs_that_lie_aside_point_where_the_file_has_them(tmp_path):
    """Names do not decide where bones lie: joint positions do."""
    mixamo = next(s for s in KNOWN_SKELETONS if s.name == "Mixamo")
    along_x = []
    for name, parent, offset in upright(dict(mixamo.joints)):
        is_below_knee = "Leg" in name and "Up" not in name
        along_x.append((name, parent, (float(np.linalg.norm(offset)), 0.0, 0.0) if is_below_knee else offset))
    path = tmp_path / "a.bvh"
    path.write_text(upright_text(along_x, [[0.0] * (3 + 3 * len(along_x))]))
    bvh = read_bvh(path)
    body = to_body(source_motion(bvh, map_joints(bvh)))
    thigh = body.positions[0, JOINT["left_knee"]] - body.positions[0, JOINT["left_hip"]]
    assert degrees_between(thigh, np.array([1.0, 0, 0])) < 1e-6


def test_a_file_of_nothing_but_its_t_pose_is_refused(tmp_path):
    mixamo = next(s for s in KNOWN_SKELETONS if s.name == "Mixamo")
    joints = upright(dict(mixamo.joints))
    path = tmp_path / "a.bvh"
    path.write_text(upright_text(joints, [[0.0] * (3 + 3 * len(joints))]))
    assert retarget(read_bvh(path)).n_frames == 1, "without a jump it is motion"
    with pytest.raises(PoseGPTError, match="nothing but a T-pose"):
        retarget(read_bvh(path), settings=ReadingSettings(t_pose_frame=0))


def test_bandai_alignment_leaves_the_spine_alone(tmp_path):
    """Neck and clavicles are not laid on SMPL's: a straight source spine is a straight SMPL spine."""
    path = tmp_path / "t.bvh"
    path.write_text(bandai_text(local_angles(t_pose()), np.array([[0.0, 93.9, 0.0]])))
    bvh = read_bvh(path)
    source = source_motion(bvh, map_joints(bvh))
    body = to_body(source)
    for name in ("pelvis", "spine1", "spine2", "spine3", "neck", "head", "left_collar", "right_collar"):
        np.testing.assert_allclose(body.rotations[0, JOINT[name]], np.eye(3), atol=1e-6)
