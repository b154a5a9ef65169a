"""Motion in words: `sample SENTENCE`, `sample --prompts`, `forecast --then`, `actions WORDS`."""

import json

import pytest

from data.formats.load import read_motion
from data.formats.smpl_npz import write_smpl_npz
from data.synthetic import make_motion
from posegpt_cli.sentences import NONE_OF_THESE

QUICK = ("--device", "cpu", "--renderer", "skeleton", "--size", "64x64")
SENTENCE = "an old man walks for 12 frames, then waves for 0.2 seconds"


@pytest.fixture
def sample(posegpt, small_generator):
    def run(*words):
        return posegpt("sample", *words, "--gpt", small_generator, *QUICK)

    return run


def test_a_sentence_becomes_a_motion(sample, tmp_path):
    ran = sample(SENTENCE, "--out", tmp_path / "old.npz", "--json")
    assert ran.code == 0, ran.err
    assert "understood: walk + style:elderly 0.4 s; wave 0.2 s" in ran.err
    report = json.loads(ran.out)
    assert report["segments"] == [
        {"labels": ["walk", "style:elderly"], "frames": 12},
        {"labels": ["wave"], "frames": 6},
    ]
    # The way from one pose to the next may take longer.
    assert read_motion(tmp_path / "old.npz").n_frames >= 18


def test_a_sentence_of_one_action_is_that_action(sample, tmp_path):
    assert sample("she waves for 8 frames", "--out", tmp_path / "said.npz").code == 0
    assert sample("--action", "wave", "--len", 8, "--out", tmp_path / "named.npz").code == 0
    assert (tmp_path / "said.npz").read_bytes() == (tmp_path / "named.npz").read_bytes()


def test_what_follows_is_the_same_sentence(sample, tmp_path):
    ran = sample("she waves", "--len", 4, "--out", tmp_path / "wave.gif")
    assert ran.err.splitlines()[-1].startswith("next: posegpt sample 'she waves' --len 4 --gpt")


def test_a_dry_run_loads_no_generator(sample, monkeypatch):
    import models.sampling.generate

    monkeypatch.delattr(models.sampling.generate, "load_generator")
    ran = sample(SENTENCE, "--dry-run", "--json")
    assert json.loads(ran.out) == {
        "segments": [{"labels": ["walk", "style:elderly"], "frames": 12}, {"labels": ["wave"], "frames": 6}]
    }
    assert sample(SENTENCE, "--dry-run").out == "walk + style:elderly 0.4 s; wave 0.2 s\n"
    planned = json.loads(sample("--action", "walk", "--len", "auto", "--dry-run", "--json").out)
    assert planned == {"segments": [{"labels": ["walk"], "frames": None}]}


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["a dog runs"], "one human body is generated, no other ('dog')", "say what one person does"),
        (["he does not run"], "what is not done cannot be generated ('not')", "say what one person does"),
        (["she swims"], "no action for 'swims' in this vocabulary", "nearest: "),
        ([""], "no action for '' in this vocabulary", "posegpt actions lists actions and styles"),
        (["walk", "--action", "run"], "SENTENCE does not go with --action", "leave out one of them"),
        (["walk, then run", "--len", "64"], "--len is for one action", "leave out --len"),
        (["walk, then run", "--loop"], "--loop is for one action", "leave out --loop"),
        (["walk, then run", "--stream"], "--stream is for one action", "leave out --stream"),
        (["--prompts", "none.txt"], "cannot read none.txt", ""),
    ],
)
def test_refused_in_two_lines(sample, tmp_path, monkeypatch, words, message, hint):
    monkeypatch.chdir(tmp_path)
    ran = sample(*words)
    assert ran.code in (1, 2)
    error, next_line = ran.err.splitlines()[-2:]
    assert error.startswith(f"error: {message}")
    assert next_line.startswith(f"hint: {hint}")
    assert not list(tmp_path.iterdir())


def test_a_person_is_asked_for_what_is_not_in_the_vocabulary(sample, monkeypatch):
    asked = []

    def answer(flag, question, choices, default):
        asked.append((question, choices))
        return "run"

    monkeypatch.setattr("posegpt_cli.sentences.is_interactive", lambda: True)
    monkeypatch.setattr("posegpt_cli.sentences.ask_choice", answer)
    ran = sample("he walks, then he swims", "--dry-run")
    assert [line.split(" ")[0] for line in ran.out.split("; ")] == ["walk", "run"]
    [(question, choices)] = asked
    assert "'swims'" in question
    assert choices[-1] == NONE_OF_THESE
    assert len(choices) == 4

    monkeypatch.setattr("posegpt_cli.sentences.ask_choice", lambda *words: NONE_OF_THESE)
    assert sample("he walks, then he swims", "--dry-run").code == 1


def test_a_file_of_prompts(sample, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text(
        "# two of them\nshe waves for 4 frames\n\nhe walks for 4 frames, then runs for 6 frames\n"
    )
    ran = sample("--prompts", prompts, "-n", 2, "--out", tmp_path / "clip.npz", "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert [len(prompt["segments"]) for prompt in report["prompts"]] == [1, 2]
    lengths = [read_motion(tmp_path / f"clip_0{k}.npz").n_frames for k in range(4)]
    assert lengths == report["frames"]
    assert lengths[:2] == [4, 4]
    assert min(lengths[2:]) >= 10


def test_a_bad_prompt_is_named_before_anything_is_written(sample, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("walk\na cat walks\n")
    ran = sample("--prompts", prompts, "--out", tmp_path / "clip.npz")
    assert ran.code == 1
    assert "prompts.txt, line 2: one human body is generated" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["prompts.txt"]
    prompts.write_text("# nothing\n")
    assert "holds no prompt" in sample("--prompts", prompts).err


def test_a_forecast_goes_on_in_words(posegpt, small_generator, tmp_path):
    past = tmp_path / "walk.npz"
    write_smpl_npz(past, make_motion("walk", 16, seed=1))
    words = ("forecast", past, "--gpt", small_generator, "--device", "cpu", "-n", 2)
    out = tmp_path / "future.npz"
    ran = posegpt(*words, "--then", "he runs for 4 frames, then waves for 6 frames", "--out", out, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["past_frames"] == 16
    assert report["frames"] == 26
    assert posegpt(*words, "--then", "runs", "--action", "run").code == 2


def test_actions_are_searched_by_meaning(posegpt):
    ran = posegpt("actions", "stroll", "--json")
    found = json.loads(ran.out)["found"]
    assert found[0]["label"] == "walk"
    assert [match["score"] for match in found] == sorted((match["score"] for match in found), reverse=True)
    ran = posegpt("actions", "an elderly lady")
    assert "style:elderly" in ran.out.splitlines()[1]
    assert "no label means" in posegpt("actions", "drive a car").err


def test_an_action_by_another_name_is_proposed(sample):
    ran = sample("--action", "stroll", "--dry-run")
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == "hint: did you mean 'walk'?"
    assert "did you mean 'elderly'?" in sample("--action", "walk", "--style", "grandpa", "--dry-run").err
