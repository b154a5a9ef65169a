"""What `posegpt` alone offers, by what lies in the folder."""

import shlex

from data.preparing.settings import PrepareSettings
from posegpt_cli.suggestions import suggest


def commands(folder):
    return [shlex.join(offer.words) for offer in suggest(folder)]


def test_an_empty_folder_is_offered_a_sample_and_the_doctor(tmp_path):
    assert commands(tmp_path) == ["sample", "doctor"]


def test_motions_can_be_drawn_continued_and_exported(tmp_path):
    (tmp_path / "my walk.npz").touch()
    assert commands(tmp_path)[1:4] == [
        "render 'my walk.npz' --out 'my walk.mp4'", "forecast 'my walk.npz'", "export 'my walk.npz'",
    ]  # fmt: skip
    (tmp_path / "my walk.mp4").touch()
    assert "render" not in " ".join(commands(tmp_path))


def test_recordings_become_a_data_set_then_an_own_generator(tmp_path):
    (tmp_path / "takes").mkdir()
    for k in range(3):
        (tmp_path / "takes" / f"{k}.bvh").touch()
    assert "prepare --bvh takes --out dataset" in commands(tmp_path)
    store = PrepareSettings(bvh=tmp_path, out=tmp_path / "dataset").store_folder("smpl", "train")
    store.mkdir(parents=True)
    (store / "manifest.json").touch()
    assert commands(tmp_path)[:2] == [
        "train gpt --data dataset --preset tiny --init pretrained --minutes 8",
        "train vqvae --data dataset --preset tiny",
    ]
    assert not any(command.startswith("prepare") for command in commands(tmp_path))
    (tmp_path / "runs" / "vqvae" / "default" / "checkpoints").mkdir(parents=True)
    vqvae = "--vqvae runs/vqvae/default"
    assert commands(tmp_path)[0] == f"train gpt --data dataset {vqvae} --preset tiny"
    (tmp_path / "runs" / "gpt" / "mine" / "checkpoints").mkdir(parents=True)
    assert commands(tmp_path)[0] == "sample --gpt runs/gpt/mine"


def test_recordings_in_folders_by_action_are_found(tmp_path):
    for action in ("walk", "run", "bow"):
        (tmp_path / "recordings" / action).mkdir(parents=True)
        (tmp_path / "recordings" / action / "1.bvh").touch()
    assert "prepare --bvh recordings --out dataset" in commands(tmp_path)
