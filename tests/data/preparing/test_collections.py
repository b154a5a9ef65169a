"""HumanAct12 and GRAB in the form that their sites give them, and folders of motion files of any format."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from data.formats.settings import ReadingSettings
from data.formats.smpl_npz import write_smpl_npz
from data.preparing.collections.grab import action_of, read_grab
from data.preparing.collections.humanact12 import ACTIONS, motion_of_clip
from data.preparing.prepare import plan, prepare
from data.preparing.settings import PrepareSettings
from data.retargeting.body_motion import body_motion
from data.store import open_store
from data.synthetic import make_motion
from models.errors import PoseGPTError
from models.motion import Motion
from tests.data.formats.test_smpl_forms import Y_DOWN, turned
from tests.data.formats.test_smpl_tree import assert_same


class Payload:
    """What a hostile pickle holds: loading it with pickle writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def write_humanact12(path: Path, motions: list[Motion], actions: list[int], **changes) -> Path:
    """As ACTOR's preprocessing writes it: poses and joints in the camera's coordinates, y down."""
    content = {"poses": [], "oldposes": [], "joints3D": [], "y": actions}
    for motion in motions:
        poses, trans = turned(motion, Y_DOWN)
        joints = body_motion(poses, trans + np.array([0.3, 0.2, 3.0]), "smpl").positions
        joints = np.concatenate([joints, joints[:, -2:]], axis=1)  # the hands, for which wrists will do
        content["poses"].append(poses.reshape(len(poses), 72))
        content["oldposes"].append(joints)
        content["joints3D"].append(joints)
    path.write_bytes(pickle.dumps(content | changes))
    return path


def walks(n: int, fps: float = 20.0) -> list[Motion]:
    return [make_motion("walk", 50, seed=k).resample(fps) for k in range(n)]


def test_a_clip_of_humanact12(tmp_path):
    [motion] = walks(1)
    path = write_humanact12(tmp_path / "humanact12poses.pkl", [motion], [1])
    found = motion_of_clip(path, 0, ReadingSettings())
    assert_same(found, motion, shift=True)
    assert found.labels == ("walk",) and found.fps == 20 and found.body_type == "smpl"


def test_humanact12_becomes_a_data_set(tmp_path):
    motions = [*walks(9), make_motion("bow", 60, seed=1).resample(20)]
    path = write_humanact12(tmp_path / "humanact12poses.pkl", motions, [1] * 8 + [11, 5])
    settings = PrepareSettings(humanact12=path, out=tmp_path / "out", jobs=2)
    planned = plan(settings)
    assert planned.files == 10 and planned.label_names == ("walk", "throw", "lift_dumbbell")
    report = prepare(settings)
    assert not report.skipped and report.converted == 10
    stores = [open_store(folder) for folder in report.folders.values()]
    assert sum(len(store) for store in stores) == 10
    assert {store.manifest.fps for store in stores} == {30}
    assert stores[0].manifest.settings["humanact12"] == "humanact12poses.pkl"
    names = {store.motion(k).name for store in stores for k in range(len(store))}
    assert "humanact12poses-0003" in names

    # A damaged clip is left out, and the others are used.
    broken = write_humanact12(tmp_path / "b.pkl", motions, [1] * 8 + [11, 5])
    content = pickle.loads(broken.read_bytes())
    content["poses"][4][3, 5] = np.nan
    broken.write_bytes(pickle.dumps(content))
    report = prepare(PrepareSettings(humanact12=broken, out=tmp_path / "again"))
    assert report.skipped == (("b-0004.pkl", "b-0004 holds NaN or infinite values"),)
    assert report.converted == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": [1, 12]}, "an action 12, expected 0 to 11"),
        ({"y": [1]}, "2 poses, 2 joints3D and 1 actions"),
        ({"y": ["walk", "run"]}, "an action walk"),
        ({"poses": None}, "no list 'poses'"),
        ({"y": 1}, "no list 'y'"),
    ],
)
def test_other_pickles_are_refused(tmp_path, changes, message):
    path = write_humanact12(tmp_path / "h.pkl", walks(2), [1, 2], **changes)
    with pytest.raises(PoseGPTError, match=message):
        plan(PrepareSettings(humanact12=path, out=tmp_path / "out"))


def test_nothing_in_humanact12_is_executed(tmp_path):
    victim = tmp_path / "victim"
    path = write_humanact12(tmp_path / "h.pkl", walks(1), [1], extra=Payload(victim))
    with pytest.raises(PoseGPTError, match="which is no array"):
        plan(PrepareSettings(humanact12=path, out=tmp_path / "out"))
    assert not victim.exists()


def test_there_is_no_action_without_its_number():
    assert len(ACTIONS) == 12 and ACTIONS[5] == "lift_dumbbell" and ACTIONS[10] == "boxing"


def write_grab(path: Path, motion: Motion, **changes) -> Path:
    """As GRAB's site has it: every value an array of one object, the body's parameters in a dictionary."""
    motion = motion.to_body_type("smplx")
    write_smpl_npz(path.with_suffix(".amass.npz"), motion, "smplx")
    with np.load(path.with_suffix(".amass.npz")) as amass:
        poses, trans = amass["poses"], amass["trans"]
    path.with_suffix(".amass.npz").unlink()
    parameters = {
        "transl": trans, "global_orient": poses[:, :3], "body_pose": poses[:, 3:66],
        "jaw_pose": poses[:, 66:69], "leye_pose": poses[:, 69:72], "reye_pose": poses[:, 72:75],
        "left_hand_pose": np.zeros((len(poses), 24)), "right_hand_pose": np.zeros((len(poses), 24)),
        "fullpose": poses, "expression": np.zeros((len(poses), 10)),
    }  # fmt: skip
    content = {
        "gender": "female", "sbj_id": path.parent.name, "obj_name": "mug", "motion_intent": "drink",
        "framerate": 120.0, "n_frames": len(poses), "n_comps": 24,
        "body": {"params": parameters, "vtemp": "tools/subject_meshes/female/s1.ply"},
        "object": {"params": {"transl": trans}, "object_mesh": "tools/object_meshes/mug.ply"},
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **(content | changes))
    return path


def test_a_sequence_of_grab(tmp_path):
    motion = make_motion("walk", 40, seed=2).resample(120)
    found = read_grab(write_grab(tmp_path / "s1" / "mug_drink_1.npz", motion), ReadingSettings())
    assert found.fps == 120 and found.body_type == "smplx" and found.gender == "female"
    assert_same(found, motion.to_body_type("smplx"))


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("s4/mug_drink_1.npz", "drink"),
        ("s1/camera_takepicture_3_Retake.npz", "takepicture"),
        ("GRAB/s2/stanfordbunny_inspect_1_stageii.npz", "inspect"),
        ("s2/mug.npz", ""),
        ("s2/a_1_b.npz", ""),
    ],
)
def test_actions_of_grab(name, action):
    assert action_of(Path(name)) == action


def test_grab_becomes_a_data_set_of_either_site(tmp_path):
    """AMASS has the same sequences in its own layout; subjects can be kept apart."""
    folder = tmp_path / "grab"
    for k in range(8):
        write_grab(
            folder / f"s{k + 1}" / f"mug_{'drink' if k % 2 else 'pass'}_1.npz", make_motion("walk", 40, k)
        )
    write_smpl_npz(folder / "s9" / "cup_lift_1_stageii.npz", make_motion("walk", 40, seed=20), "smplx")
    settings = PrepareSettings(grab=folder, out=tmp_path / "out", actor_pattern=r"(?P<actor>s\d+)/")
    assert plan(settings).label_names == ("drink", "lift", "pass")
    report = prepare(settings)
    assert not report.skipped and report.converted == 9
    assert {open_store(folder).manifest.body_type for folder in report.folders.values()} == {"smplx"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"body": {"vtemp": "x"}}, "no parameters in its body"), ({"body": 3}, "no parameters in its body")],
)
def test_damaged_sequences_of_grab(tmp_path, changes, message):
    path = write_grab(tmp_path / "s1" / "mug_drink_1.npz", make_motion("walk", 20), **changes)
    with pytest.raises(PoseGPTError, match=message):
        read_grab(path, ReadingSettings())


@pytest.mark.parametrize("is_object", [False, True])
def test_text_that_is_no_text(tmp_path, is_object):
    """numpy takes any four bytes for a character; asking for its text was a SystemError."""
    damaged = np.frombuffer(b"\xff" * 8, "<U2").reshape(())
    gender = np.array(None, object)
    gender[()] = damaged
    path = write_grab(
        tmp_path / "s1" / "a_b_1.npz", make_motion("walk", 20), gender=gender if is_object else damaged
    )
    if is_object:
        assert read_grab(path, ReadingSettings()).gender is None
    else:
        with pytest.raises(PoseGPTError, match="it is damaged"):
            read_grab(path, ReadingSettings())


def test_nothing_in_grab_is_executed(tmp_path):
    victim = tmp_path / "victim"
    path = write_grab(tmp_path / "s1" / "mug_drink_1.npz", make_motion("walk", 20), body=Payload(victim))
    with pytest.raises(PoseGPTError, match="which is no array"):
        read_grab(path, ReadingSettings())
    assert not victim.exists()


def test_motion_files_of_any_format(tmp_path):
    """What estimators save, and joints: prepare takes what the other commands read."""
    folder = tmp_path / "motions"
    for k in range(6):
        motion = make_motion("walk", 40, seed=k)
        (folder / "walk").mkdir(parents=True, exist_ok=True)
        poses, trans = turned(motion, np.array([0.0, 0, 0, 1]))
        content = {"pose_world": poses.reshape(len(poses), 72), "trans_world": trans}
        (folder / "walk" / f"{k}.pkl").write_bytes(pickle.dumps({0: content}))
    joints = body_motion(*turned(make_motion("run", 40, seed=9), np.array([0.0, 0, 0, 1])), "smpl").positions
    np.save(folder / "run.npy", joints[:, :22])
    (folder / "notes.json").write_text(json.dumps({}))
    report = prepare(PrepareSettings(files=folder, out=tmp_path / "out"))
    assert report.converted == 7 and not report.skipped
    assert sum(len(open_store(path)) for path in report.folders.values()) == 7
