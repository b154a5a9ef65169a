"""`posegpt render`: every option reaches the picture, and what cannot be drawn is refused before any work."""

import numpy as np
import pytest
from PIL import Image

from data.formats.smpl_npz import write_smpl_npz
from data.synthetic import make_motion
from posegpt_cli.output import RenderOptions
from posegpt_cli.rendering.torch3d import raster

QUICK = ("--renderer", "skeleton", "--size", "64x64")


@pytest.fixture
def walk(tmp_path):
    write_smpl_npz(tmp_path / "walk.npz", make_motion("walk", 12))
    return tmp_path / "walk.npz"


def test_every_option_reaches_the_renderer(posegpt, walk, tmp_path, monkeypatch):
    from posegpt_cli.commands import render

    asked = []
    monkeypatch.setattr(render, "save_all", lambda jobs, options: asked.append(options) or [])
    ran = posegpt(
        "render", walk, "--out", tmp_path / "a.png", "--fps", 24, "--renderer", "skeleton", "--size", "80x64",
        "--camera", "side", "--floor", "grid", "--background", "#101010", "--color", "steelblue",
        "--past-frames", 3, "--layout", "row", "--title", "one", "--captions", "--contacts",
        "--trail", 4, "--no-multisampling", "--body-type", "smplx", "--body-model", tmp_path, "--jobs", 2,
        "--rig", "mixamo", "--body", "female",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert asked == [
        RenderOptions(
            size=(80, 64),
            fps=24,
            camera="side",
            renderer="skeleton",
            floor="grid",
            background="#101010",
            color="steelblue",
            past_frames=3,
            multisampling=False,
            layout="row",
            titles=("one",),
            captions=True,
            contacts=True,
            trail=4,
            body_type="smplx",
            body_model=tmp_path,
            rig="mixamo",
            body="female",
            jobs=2,
        )
    ]
    fields = RenderOptions.model_fields.items()
    untouched = {name for name, info in fields if getattr(asked[0], name) == info.default}
    assert untouched == {"sheet_frames"}  # that comes without --trail
    assert posegpt("render", walk, "--out", tmp_path / "a.png", "--sheet-frames", 5).code == 0
    assert asked[1] == RenderOptions(sheet_frames=5)


@pytest.mark.parametrize("command", ["sample", "forecast"])
def test_what_is_generated_is_drawn_with_the_same_options(posegpt, walk, tmp_path, monkeypatch, command):
    from importlib import import_module

    module, asked = import_module(f"posegpt_cli.commands.{command}"), []

    def note(jobs, options):
        # Called once more for files of a character, of which there are none here.
        if jobs:
            asked.append(options)
        return []

    monkeypatch.setattr(module, "save_all", note)
    motions = [make_motion("walk", 16)]
    made = (lambda settings, clips, *_: [(clips[0], motions)]) if command == "sample" else lambda *_: motions
    monkeypatch.setattr(module, "_generate", made)
    words = ["--action", "walk"] if command == "sample" else [walk, "--layout", "row", "--title", "one"]
    ran = posegpt(
        command, *words, "--out", tmp_path / "a.png", "--renderer", "skeleton", "--size", "80x64",
        "--camera", "side", "--floor", "grid", "--background", "#101010", "--color", "steelblue",
        "--captions", "--trail", 4, "--no-multisampling", "--body-type", "smplx",
        "--body-model", tmp_path, "--jobs", 2,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    given = {} if command == "sample" else {"layout": "row", "titles": ("one",), "past_frames": 12}
    assert asked == [
        RenderOptions(
            size=(80, 64),
            camera="side",
            renderer="skeleton",
            floor="grid",
            background="#101010",
            color="steelblue",
            multisampling=False,
            captions=True,
            trail=4,
            body_type="smplx",
            body_model=tmp_path,
            jobs=2,
            **given,
        )
    ]


@pytest.mark.parametrize("command", ["sample", "forecast"])
def test_a_preview_alone_writes_nothing(posegpt, walk, tmp_path, monkeypatch, command):
    from importlib import import_module

    module, played = import_module(f"posegpt_cli.commands.{command}"), []
    monkeypatch.chdir(tmp_path)
    motions = [make_motion("walk", 16)]
    made = (lambda settings, clips, *_: [(clips[0], motions)]) if command == "sample" else lambda *_: motions
    monkeypatch.setattr(module, "_generate", made)
    monkeypatch.setattr(module, "preview", lambda motions, options, is_all: played.append(is_all))
    words = ["--action", "walk"] if command == "sample" else [walk]
    ran = posegpt(command, *words, "--preview")
    assert ran.code == 0, ran.err
    assert played == [True] and ran.out == ""
    assert f"posegpt {command}" in ran.err and "--seed 0 --out motion.npz" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["walk.npz"]


def test_the_options_say_their_defaults_once(posegpt, walk, tmp_path, monkeypatch):
    """What a bare command line draws is what RenderOptions draws."""
    from posegpt_cli.commands import render

    asked = []
    monkeypatch.setattr(render, "save_all", lambda jobs, options: asked.append(options) or [])
    monkeypatch.delenv("POSEGPT_BODY_MODELS", raising=False)
    assert posegpt("render", walk, "--out", tmp_path / "a.mp4").code == 0
    assert asked == [RenderOptions()]


def test_several_motions_stand_side_by_side_with_titles(posegpt, walk, tmp_path):
    ran = posegpt(
        "render", walk, walk, "--title", "before", "--title", "after", "--trail", 1, *QUICK[:2],
        "--size", "160x80", "--out", tmp_path / "a.png", "--out", tmp_path / "b.csv",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert [path.name for path in sorted(tmp_path.glob("[ab]*"))] == ["a.png", "b_00.csv", "b_01.csv"]
    with Image.open(tmp_path / "a.png") as picture:
        halves = np.hsplit(np.asarray(picture.convert("RGB")).astype(int), 2)
    assert all((np.ptp(half, axis=-1) > 40).sum() > 50 for half in halves)


def test_one_frame_is_drawn_in_every_format(posegpt, walk, tmp_path):
    write_smpl_npz(tmp_path / "one.npz", make_motion("walk", 1))
    outs = [tmp_path / f"one{suffix}" for suffix in (".mp4", ".gif", ".png", ".glb", ".html", ".bvh", ".csv")]
    ran = posegpt("render", tmp_path / "one.npz", *QUICK, *(w for out in outs for w in ("--out", out)))
    assert ran.code == 0, ran.err
    assert all(out.stat().st_size > 300 for out in outs)


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["--size", "0x64"], "0x64", "--size 720x720"),
        (["--size", "63x64"], "even", "--size 64x64"),
        (["--size", "99999x64"], "99999x64", "--size"),
        (["--background", "nocolour"], "nocolour", "steelblue"),
        (["--color", "nocolour"], "nocolour", "steelblue"),
        (["--fps", "1000"], "1000", "--fps 30"),
        (["--jobs", "999"], "64, got 999", "--jobs: Processes"),
        (["--title", "a", "--title", "b"], "2 times for 1", "once for each"),
        (["--camera", "drone"], "drone", "render --help"),
        (["--trail", "-1"], "--trail must be greater than or equal to 0, got -1", "--trail: As .png"),
        (["--size", "720"], "--size expected WIDTHxHEIGHT", "--size 720x720"),
        (["--trail", "6"], "--trail is for a .png, and no --out is one", "add --out still.png"),
        (["--sheet-frames", "6"], "--sheet-frames is for a .png", "add --out still.png"),
        (["--trail", "6", "--sheet-frames", "6"], "--trail does not go with --sheet-frames", "one of them"),
    ],
)
def test_what_cannot_be_drawn_is_wrong_use(posegpt, walk, tmp_path, words, said, hint):
    ran = posegpt("render", walk, "--out", tmp_path / "a.mp4", *words)
    message, shown_hint = ran.err.splitlines()
    assert ran.code == 2 and said in message and hint in shown_hint
    assert not (tmp_path / "a.mp4").exists()


def test_nothing_asked_for_names_both_ways(posegpt, walk):
    ran = posegpt("render", walk)
    assert ran.code == 2
    assert "--out walk.mp4, or --preview" in ran.err


def test_pytorch3d_without_the_package_says_how_to_get_it(posegpt, walk, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    ran = posegpt("render", walk, "--renderer", "pytorch3d", "--size", "64x64", "--out", tmp_path / "a.mp4")
    message, hint = ran.err.splitlines()
    assert ran.code == 1 and "pytorch3d is not installed" in message
    assert raster.install_hint() in hint
    assert not (tmp_path / "a.mp4").exists()


def test_preview_off_a_terminal(posegpt, walk, tmp_path):
    alone = posegpt("render", walk, "--preview")
    assert alone.code == 1 and "--preview needs a terminal" in alone.err and "walk.gif" in alone.err
    ran = posegpt("render", walk, "--preview", "--out", tmp_path / "a.gif", *QUICK)
    assert ran.code == 0 and "warning: --preview needs a terminal" in ran.err
    assert ran.out.strip() == str(tmp_path / "a.gif")


def test_preview_plays_on_a_terminal(posegpt, walk, monkeypatch):
    from posegpt_cli.output import preview

    monkeypatch.setattr(preview, "_AT_LEAST", 0.3)
    monkeypatch.setattr(preview, "_AT_MOST", 0.3)
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm-256color"), ("COLUMNS", "40"), ("LINES", "24")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    ran = posegpt("render", walk, "--preview")
    assert ran.code == 0, ran.err
    assert ran.err.count("▀") > 200 and "\x1b[38;5;" in ran.err
    assert ran.out == ""
