"""Every command that README and docs show runs, in a folder with small files of the kinds that they name.

The original's commands are left to tests/posegpt_cli/test_train_original.py.
"""

import csv
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

from data.formats.bvh import write_bvh
from data.formats.smpl_npz import write_smpl_npz
from data.retargeting.body_motion import REST_JOINTS
from data.synthetic import make_motion
from models.body.body_files import write_model_files
from tests.data.acclaim import random_frames, write_amc, write_asf
from tests.data.miniature import label, record, write_babel, write_recording
from tests.data.preparing.test_collections import walks, write_grab, write_humanact12
from tests.data.rigging.box_man import vrm_man
from tests.test_docs import PAGES, commands

BRIEF = {
    "train": ["--iter", "2", "--train-batch-size", "2", "--eval-batches", "1", "--n-visu-to-save", "1"],
    "eval fid": ["--clips", "8", "--repeats", "2"],
    "eval reconstruction": ["--clips", "8"],
    "eval forecast": ["--clips", "4", "--samples", "2"],
    "eval physics": ["--clips", "4"],
    "eval all": ["--clips", "4", "--repeats", "2", "--steps", "4"],
}
"""What is added to a command so that it takes seconds."""
NOT_RUN = {
    "--preview": "plays in a terminal", "paper": "the original's",
    "moves.fbx": "needs Blender",
    "serve": "goes on until Ctrl-C: see tests/posegpt_cli/serving/test_serve_command.py",
    "--install-completion": "changes the shell's own files",
}  # fmt: skip
ROOT = Path(__file__).parents[1]
CHARACTER = ROOT / "tests" / "data" / "characters" / "human-male.glb"
ACTIONS = ("walk", "run", "bow")
"""Names that the bundled judge knows, too."""


def runnable(page: Path) -> list[list[str]]:
    return [words[1:] for words in commands(page) if not NOT_RUN.keys() & {*words} or "prepare" in words]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """What a reader of the docs has: recordings, BABEL and AMASS, a data set, runs, motion files, a body."""
    from posegpt_cli.app import main

    root = tmp_path_factory.mktemp("workplace")
    write_recordings(root)
    write_babel_and_amass(root)
    write_model_files(root / "models" / "smpl")
    write_collections(root)
    shutil.copy(CHARACTER, root / "my.glb")
    in_clone = root / CHARACTER.relative_to(ROOT)
    in_clone.parent.mkdir(parents=True)
    shutil.copy(CHARACTER, in_clone)
    vrm_man().save(root / "my.vrm")
    (root / "prompts.txt").write_text("she waves for 8 frames\nhe walks for 8 frames\n")
    (root / "texts").mkdir()
    (root / "texts" / "clip_00.txt").write_text("a person walks.#a/DET person/NOUN walk/VERB#0.0#0.0\n")
    for name in ("walk", "run", "a", "b", "old"):
        write_smpl_npz(root / f"{name}.npz", make_motion("walk", 64, seed=1))
    data, tiny = ["--data", "dataset"], ["--preset", "tiny", *BRIEF["train"]]
    physics = ["eval", "physics", *data, *BRIEF["eval physics"]]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for command in (
            ["prepare", "--bvh", "recordings", "--out", "dataset"],
            ["train", "vqvae", *data, *tiny],
            ["train", "gpt", *data, *tiny, "--vqvae", "runs/vqvae/default"],
            [*physics, "--out", "before.json", "--out", "after.json"],
        ):
            assert main(command) == 0, command
    return root


def write_recordings(root: Path) -> None:
    """BVH in a folder an action, a table of their labels, AMC named as HDM05's."""
    rest_joints = np.concatenate([REST_JOINTS, REST_JOINTS[20:22] * 1.1])  # hands
    rows = [(f"clip_{k:02d}", ACTIONS[k % 3]) for k in range(18)]
    for k, (name, action) in enumerate(rows):
        path = root / "recordings" / action / f"{name}.bvh"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bvh(path, make_motion(action, 80, seed=k), rest_joints)
    shutil.copy(root / "recordings" / "walk" / "clip_00.bvh", root / "recording.bvh")
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("clip", "labels"), *rows])
    write_asf(root / "hdm05" / "bd" / "HDM_bd.asf")
    for k in range(6):
        write_amc(root / "hdm05" / "bd" / f"HDM_bd_{ACTIONS[k % 2]}_{k:03d}_120.amc", random_frames(320))


def write_collections(root: Path) -> None:
    """HumanAct12 and GRAB as they are given away, and motion files of another program."""
    write_humanact12(root / "humanact12poses.pkl", walks(12), [k % 2 for k in range(12)])
    for k in range(6):
        motion = make_motion("walk", 60, seed=k)
        write_grab(root / "grab" / f"s{k + 1}" / "mug_drink_1.npz", motion.resample(120))
        path = root / "estimates" / ("walk", "run")[k % 2] / f"{k}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_smpl_npz(path, motion)


def write_babel_and_amass(root: Path) -> None:
    """Recordings of forty seconds, enough for windows of 900 frames, in every split."""
    splits: dict[str, list[dict]] = {"train": [], "val": [], "test": []}
    for k, split in enumerate(("train", "train", "val", "val", "test")):
        frames = [label(["walk"], 0.0, 20.0), label(["wave"], 20.0, 40.0)]
        write_recording(root / "amass", f"smplh/CMU/0{k}/01_poses.npz", 60 * 40, 60.0, walk=0.2)
        splits[split].append(record(k, f"CMU/CMU/0{k}/01_poses.npz", 40.0, frames=frames))
    write_babel(root / "babel", **splits)


def test_there_are_commands_to_run():
    assert sum(len(runnable(page)) for page in PAGES) > 40


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=lambda page: page.name)
def test_commands_run(page, workplace, posegpt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(workplace, tmp_path, dirs_exist_ok=True)
    for words in runnable(page):
        said = f"posegpt {' '.join(words)}"
        writes = not {"--plot", "--dry-run"} & {*words}
        outs = [
            Path(word)
            for option, word in itertools.pairwise(words)
            if option in ("--out", "--preview") and writes
        ]
        # Pages show one command beside another; a reader types one of those that write the same folder.
        makes_default = words[0] == "train" and writes and "--name" not in words
        for path in [*outs, Path("runs", words[1], "default")] if makes_default else outs:
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)
        ran = posegpt(*words, *BRIEF.get(" ".join(words[:2]), BRIEF.get(words[0], [])))
        assert ran.code == 0, f"{said}\n{ran.err}"
        for out in outs:
            assert list(Path().glob(f"{out.stem}*{out.suffix}")), f"{said} wrote no {out}"
