"""Texts from data to motion: `prepare` keeps them, `train gpt --text` learns them, `sample` takes any."""

import json

import numpy as np
import pytest

from data.formats.load import read_motion
from data.formats.smpl_npz import write_smpl_npz
from data.store import find_store, open_store
from data.synthetic import make_motion
from data.text_bank import TextBank, compose, mirrored, texts_by_label
from models.checkpoint import find_checkpoint, read_info
from models.text.words import bundled_words
from tests.data.miniature import label, record, write_babel
from tests.posegpt_cli.small_runs import SMALL_GPT


@pytest.fixture(scope="module")
def text_run(runs, tmp_path_factory):
    from posegpt_cli.app import main

    out = tmp_path_factory.mktemp("texts")
    words = (*SMALL_GPT, "--text", "--vqvae", runs / "vqvae" / "default", "--out", out)
    assert main([str(word) for word in words]) == 0
    return out / "gpt" / "default"


def test_training_on_texts_is_recorded_and_takes_any_sentence(posegpt, text_run, tmp_path):
    info = read_info(find_checkpoint(text_run, "gpt"))
    assert info.network["text_vectors"] == "words"
    assert info.network["text_dim"] == bundled_words().dim
    assert "someone strolls along" in info.phrases["walk"]

    out = tmp_path / "swim.npz"
    words = (
        "sample",
        "a whale swims for 8 frames",
        "--gpt",
        text_run,
        "--device",
        "cpu",
        "--out",
        out,
        "--json",
    )
    ran = posegpt(*words)
    assert ran.code == 0, ran.err
    assert "in its own words: a whale swims 0.3 s" in ran.err
    assert json.loads(ran.out)["segments"] == [{"labels": [], "frames": 8, "text": "a whale swims"}]
    assert read_motion(out).n_frames == 8


def test_other_words_give_other_motion(posegpt, text_run, tmp_path):
    for name, sentence in (("a", "she walks"), ("b", "she bows"), ("c", "she walks")):
        words = (sentence, "--len", 8, "--gpt", text_run, "--device", "cpu", "--guidance", 5)
        assert posegpt("sample", *words, "--out", tmp_path / f"{name}.npz").code == 0
    a, b, c = (read_motion(tmp_path / f"{name}.npz").poses for name in "abc")
    assert np.array_equal(a, c)
    assert not np.array_equal(a, b)


def test_a_text_run_still_takes_labels_and_forecasts(posegpt, text_run, tmp_path):
    past = tmp_path / "walk.npz"
    write_smpl_npz(past, make_motion("walk", 16, seed=1))
    common = ("--gpt", text_run, "--device", "cpu")
    assert posegpt("sample", "--action", "walk", "--len", 8, *common, "--out", tmp_path / "l.npz").code == 0
    words = ("forecast", past, "--then", "someone leaps for 8 frames, then rests for 4 frames")
    assert posegpt(*words, *common, "--out", tmp_path / "f.npz").code == 0
    assert read_motion(tmp_path / "f.npz").n_frames == 28


def write_clips(folder, names):
    for k, name in enumerate(names):
        (folder / "walk").mkdir(parents=True, exist_ok=True)
        write_smpl_npz(folder / "walk" / f"{name}.npz", make_motion("walk", 40, seed=k))


def test_prepare_keeps_texts_of_a_table_and_of_files(posegpt, tmp_path):
    write_clips(tmp_path / "amass", ("a", "b", "c"))
    table = tmp_path / "labels.csv"
    table.write_text(
        'clip,labels,text\na,walk,"he walks; slowly"\nb,walk,\nc,walk,c walks\nc,walk,c strolls\n'
    )
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "b.txt").write_text("a person walks.#a/DET person/NOUN#0.0#0.0\nonly here#x#1.0#2.0\n")
    ran = posegpt(
        "prepare", "--amass", tmp_path / "amass", "--labels", table, "--texts", texts, "--type", "smpl",
        "--val-share", 0, "--test-share", 0, "--out", tmp_path / "data",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    store = open_store(find_store(tmp_path / "data", "train"))
    found = dict(zip([clip["name"] for clip in store.clips], store.texts, strict=True))
    assert found == {"a": ("he walks; slowly",), "b": ("a person walks.",), "c": ("c walks", "c strolls")}
    assert set(texts_by_label(store)["walk"]) == {text for of_clip in found.values() for text in of_clip}

    missing = (
        "prepare",
        "--amass",
        tmp_path / "amass",
        "--texts",
        tmp_path / "none",
        "--out",
        tmp_path / "d",
    )
    ran = posegpt(*missing)
    assert ran.code == 1
    assert "no folder" in ran.err


def test_prepare_keeps_what_babel_says(posegpt, tmp_path):
    (tmp_path / "amass" / "smplh" / "ACCAD").mkdir(parents=True)
    write_smpl_npz(tmp_path / "amass" / "smplh" / "ACCAD" / "a_poses.npz", make_motion("walk", 90, seed=0))
    walk = label(["walk"], 0.0, 2.0) | {"raw_label": "walks to the fridge", "proc_label": "walk to fridge"}
    write_babel(tmp_path / "babel", train=[record(1, "ACCAD/ACCAD/a_poses.npz", 3.0, frames=[walk])])
    ran = posegpt(
        "prepare", "--babel", tmp_path / "babel", "--amass", tmp_path / "amass", "--type", "smplh",
        "--out", tmp_path / "data",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    store = open_store(find_store(tmp_path / "data", "train"))
    assert store.texts[0] == ("walks to the fridge", "walk to fridge")


def test_mirrored_texts_change_sides():
    assert mirrored("turns left, right arm up") == "turns right, left arm up"
    assert mirrored("a bright leftover") == "a bright leftover"


def test_a_bank_gives_each_clip_one_of_its_texts():
    encoder = bundled_words()
    bank = TextBank([("walk left", "stroll"), (), ("jump",)], encoder)
    clips = np.array([0, 1, 2, 0])
    side = np.array([False, False, False, True])
    first = bank.vectors_of(clips, side)
    np.testing.assert_allclose(first[0], encoder.encode(["walk left"])[0])
    np.testing.assert_allclose(first[3], encoder.encode(["walk right"])[0])
    assert not first[1].any()
    rng = np.random.default_rng(0)
    drawn = {bank.vectors_of(clips, side, rng)[0].tobytes() for _ in range(20)}
    assert len(drawn) == 2


def test_labels_without_texts_are_put_in_words():
    phrases = {"walk": ("Walks.", "stroll"), "style:sad": ("Sadly.", "sad")}
    assert compose(("walk", "style:sad"), phrases) == ["Walks, Sadly", "stroll, sad"]
