"""`posegpt prepare` and `posegpt actions --data`."""

import json

import pytest

from data.store import find_store, open_store

PATTERN = r"(?P<action>[a-z]+)_(?P<style>[a-z]+)_\d+"


@pytest.fixture(scope="module")
def prepared(bvh_folder, tmp_path_factory):
    from posegpt_cli.app import main

    out = tmp_path_factory.mktemp("prepared")
    assert main(["prepare", "--bvh", str(bvh_folder), "--out", str(out), "--label-pattern", PATTERN]) == 0
    return out


def test_prepare_tells_what_it_made_and_what_is_next(posegpt, bvh_folder, tmp_path):
    ran = posegpt("prepare", "--bvh", bvh_folder, "--out", tmp_path, "--label-pattern", PATTERN, "--jobs", 2)
    assert ran.code == 0
    rows = {line.split()[0]: line.split()[1:] for line in ran.out.splitlines() if line.strip()}
    assert int(rows["train"][0]) + int(rows["val"][0]) + int(rows["test"][0]) == 12
    assert "style:elderly" in rows and "walk" in rows
    assert ran.err.splitlines()[-1] == f"next: posegpt train vqvae --data {tmp_path}"
    store = open_store(find_store(tmp_path, "train"))
    assert str(len(store)) == rows["train"][0]


def test_json_is_one_object(posegpt, bvh_folder, tmp_path):
    (tmp_path / "in").mkdir()
    for file in sorted(bvh_folder.iterdir())[:6]:
        (tmp_path / "in" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "in" / "broken_happy_1.bvh").write_text("HIERARCHY")
    ran = posegpt(
        "prepare", "--bvh", tmp_path / "in", "--out", tmp_path / "out", "--label-pattern", PATTERN, "--json"
    )
    report = json.loads(ran.out)
    assert sum(split["clips"] for split in report["splits"].values()) == 6
    assert [entry["file"] for entry in report["skipped"]] == ["broken_happy_1.bvh"]
    assert "warning: left out broken_happy_1.bvh" in ran.err


def test_dry_run_writes_nothing(posegpt, bvh_folder, tmp_path):
    ran = posegpt(
        "prepare",
        "--bvh",
        bvh_folder,
        "--out",
        tmp_path / "x",
        "--label-pattern",
        PATTERN,
        "--dry-run",
        "--json",
    )
    plan = json.loads(ran.out)
    assert (plan["files"], plan["labelled"]) == (12, 12)
    assert plan["label_names"] == ["style:elderly", "style:happy", "walk", "wave"]
    assert not (tmp_path / "x").exists()


def test_existing_data_is_kept_unless_forced(posegpt, bvh_folder, prepared):
    words = ("prepare", "--bvh", bvh_folder, "--out", prepared, "--label-pattern", PATTERN)
    ran = posegpt(*words)
    assert ran.code == 1
    assert "exists already" in ran.err and "--force" in ran.err
    assert posegpt(*words, "--force").code == 0


def test_an_empty_folder_is_two_lines(posegpt, tmp_path):
    ran = posegpt("prepare", "--bvh", tmp_path, "--out", tmp_path / "out")
    assert ran.code == 1
    assert len(ran.err.splitlines()) == 2
    assert "no .bvh file" in ran.err


@pytest.mark.parametrize(("given", "missing"), [([], "--bvh"), (["--bvh", "x"], "--out")])
def test_missing_choices_off_a_terminal_name_the_flag(posegpt, given, missing):
    ran = posegpt("prepare", *given)
    assert ran.code == 2
    assert ran.err.splitlines()[0] == f"error: {missing} is missing"


def test_actions_of_a_data_set(posegpt, prepared):
    ran = posegpt("actions", "--data", prepared)
    assert ran.out.split() == ["walk", "wave", "style:elderly", "style:happy"]


def test_actions_of_a_checkpoint(posegpt, small_generator):
    ran = posegpt("actions", "--gpt", small_generator)
    assert ran.out.split() == ["walk", "run", "wave", "style:elderly", "style:happy"]
    assert ran.err.startswith("next: posegpt sample --action 'walk'")


def test_actions_wants_one_source(posegpt, small_generator, prepared):
    assert posegpt("actions", "--gpt", small_generator, "--data", prepared).code == 2
    ran = posegpt("actions", "--data", prepared / "nowhere")
    assert ran.code == 1
    assert len(ran.err.splitlines()) == 2
