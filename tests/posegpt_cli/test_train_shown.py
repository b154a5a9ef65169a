"""What a run shows of itself: the live line, clips at validations, curves."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from data.synthetic import ACTIONS
from models.batch import Batch
from models.errors import PoseGPTError
from models.evaluation.in_training.fid import ValidationJudge
from models.evaluation.in_training.previews import label_names, reconstructed, to_motions
from models.evaluation.judge import load_judge
from models.evaluation.motions.generated import Prompt
from models.sampling.generate import load_generator
from models.training.data_source import DataInfo
from models.training.logger import TrainingProgress
from posegpt_cli.training import live
from posegpt_cli.training.curves import draw_curves, read_metrics
from posegpt_cli.training.live import show_size, show_training
from tests.posegpt_cli.small_runs import SMALL_CLASSIFIER, SMALL_GPT, SMALL_VQVAE

INFO = DataInfo(("walk", "run", "wave"), "smpl", 30.0, "test")


def entry(step, **metrics):
    terms = {"body": 1 / step, "root": 0.5 / step}
    return {"step": step, "terms": terms, "metrics": metrics, "learning_rate": 1e-3 / step}


def write_metrics(folder, entries, tail=""):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries) + tail)


def batch(labels):
    poses = 0.1 * torch.randn(len(labels), 12, 24, 3, generator=torch.Generator().manual_seed(0))
    trans = torch.zeros(len(labels), 12, 3)
    trans[:, :, 1] = 1.1
    return Batch(poses, trans, torch.tensor([12, 7, 9][: len(labels)]), torch.tensor(labels).float())


def test_after_going_back_the_later_lines_count(tmp_path):
    write_metrics(tmp_path, [entry(20), entry(40), entry(60), entry(40, mpjpe=3.0)], tail='{"step": 60, "ter')
    found = read_metrics(tmp_path / "metrics.jsonl")
    assert [e.step for e in found] == [20, 40]
    assert found[-1].metrics == {"mpjpe": 3.0}


def test_curves_have_a_panel_for_the_loss_each_figure_and_the_learning_rate(tmp_path):
    write_metrics(tmp_path, [entry(20, mpjpe=30.0), entry(40, mpjpe=20.0)])
    small = Image.open(draw_curves(tmp_path))
    write_metrics(tmp_path, [entry(20, a=1.0, b=2.0, c=3.0, d=4.0), entry(40, a=1.0, b=2.0, c=3.0, d=4.0)])
    large = Image.open(draw_curves(tmp_path))
    assert large.size[0] > small.size[0]  # 3 panels in two columns, 6 in three
    blue = np.abs(np.asarray(large.convert("RGB")).astype(int) - (0x3F, 0x72, 0xA8)).max(-1) < 30
    columns, rows = blue.any(0), blue.any(1)
    assert columns[: len(columns) // 2].any() and columns[-len(columns) // 3 :].any()
    assert rows[: len(rows) // 2].any() and rows[len(rows) // 2 :].any()


def test_no_figures_no_curves(tmp_path):
    with pytest.raises(PoseGPTError, match="no figures yet"):
        draw_curves(tmp_path)


def test_plot_draws_a_run_that_exists_and_nothing_else(posegpt, runs):
    folder = runs / "vqvae" / "default"
    assert (folder / "curves.png").is_file()  # the run left it at its end
    (folder / "curves.png").unlink()
    before = (folder / "metrics.jsonl").read_bytes()
    ran = posegpt("train", "vqvae", "--out", runs, "--plot")
    assert ran.code == 0 and ran.out.split() == [str(folder / "curves.png")], ran.err
    assert (folder / "curves.png").stat().st_size > 10_000
    assert (folder / "metrics.jsonl").read_bytes() == before
    ran = posegpt("train", "vqvae", "--out", runs, "--plot", "--json")
    assert json.loads(ran.out) == {"curves": str(folder / "curves.png")}


def test_plot_in_a_new_run_draws_at_every_validation_too(posegpt, monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr("posegpt_cli.commands.train.draw_curves", drawn.append)
    assert posegpt(*SMALL_CLASSIFIER, "--out", tmp_path, "--plot").code == 0
    assert drawn == [tmp_path / "classifier" / "default"] * 3  # two validations, and the end


def test_clips_are_drawn_at_every_validation(posegpt, tmp_path):
    import imageio.v3 as iio
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert posegpt(*SMALL_VQVAE, "--out", tmp_path, "--n-visu-to-save", 1).code == 0
    samples = tmp_path / "vqvae" / "default" / "samples"
    assert sorted(p.name for p in samples.glob("*.mp4")) == ["step_000002.mp4", "step_000004.mp4"]
    video = iio.imread(samples / "step_000004.mp4")
    assert video.shape == (16, 320, 480, 3)  # truth and reconstruction side by side, 16 frames
    assert np.abs(video[:, :, :240].astype(int) - video[:, :, 240:]).max() > 100
    assert len(list(samples.glob("events*"))) == 1
    board = EventAccumulator(str(samples)).Reload()
    assert [event.step for event in board.Images("clips")] == [2, 4]


def test_every_second_validation_is_drawn_and_the_last_one(posegpt, monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr("posegpt_cli.training.validation._draw_clips", lambda *about: drawn.append(about[-1]))
    words = (*SMALL_CLASSIFIER, "--out", tmp_path, "--iter", 5, "--eval-every", 1)
    assert posegpt(*words, "--n-visu-to-save", 1, "--visu-every", 2).code == 0
    assert drawn == [2, 4, 5]


@pytest.mark.parametrize("stage", ["gpt", "classifier"])
def test_as_many_clips_as_asked_for(posegpt, monkeypatch, runs, tmp_path, stage):
    shown = []
    monkeypatch.setattr(
        "posegpt_cli.training.validation._draw_clips", lambda preview, *_: shown.append(preview)
    )
    words = (*SMALL_GPT, "--vqvae", runs / "vqvae" / "default") if stage == "gpt" else SMALL_CLASSIFIER
    ran = posegpt(*words, "--out", tmp_path, "--n-visu-to-save", 2)
    assert ran.code == 0, ran.err
    assert [len(preview.motions) for preview in shown] == [2, 2]
    assert all(("right" in title or "wrong" in title) == (stage == "classifier") for title in shown[0].titles)


def test_a_picture_that_fails_does_not_end_the_run(posegpt, monkeypatch, tmp_path):
    def fail(*_):
        raise PoseGPTError("the disk is full", "")

    monkeypatch.setattr("posegpt_cli.training.validation._draw_clips", fail)
    ran = posegpt(*SMALL_CLASSIFIER, "--out", tmp_path, "--n-visu-to-save", 1)
    assert ran.code == 0
    assert ran.err.count("no picture: the disk is full") == 2


def test_labels_of_windows_and_of_their_frames():
    per_window = batch([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    expected = [("walk", "wave"), (), ("run",)]
    assert label_names(per_window, INFO.labels) == expected
    per_frame = per_window.labels[:, None] * torch.tensor([0.0, 1.0])[None, :, None]
    per_window.labels = per_frame
    assert label_names(per_window, INFO.labels) == expected


def test_motions_are_the_windows_without_their_padding():
    windows = batch([[1, 0, 0], [0, 1, 0]])
    motions = to_motions(windows, INFO)
    assert [(m.n_frames, m.labels) for m in motions] == [(12, ("walk",)), (7, ("run",))]
    assert np.array_equal(motions[1].poses, windows.poses[1, :7].numpy())


def test_a_reconstruction_stands_beside_its_truth_and_starts_where_it_does(small_generator):
    vqvae = load_generator(small_generator, "cpu").vqvae
    preview = reconstructed(vqvae, batch([[1, 0, 0], [0, 1, 0]]), INFO)
    assert preview.titles == ["truth", "reconstruction"] * 2
    assert [m.n_frames for m in preview.motions] == [12, 12, 7, 7]
    for truth, decoded in (preview.motions[:2], preview.motions[2:]):
        assert np.allclose(truth.trans[0, ::2], decoded.trans[0, ::2], atol=0.05)


def test_windows_without_labels_are_not_judged(small_generator):
    judge = load_judge(device="cpu")
    windows = batch([[1, 0, 0], [0, 0, 0], [0, 1, 0]])
    against = ValidationJudge.of(judge, [windows], INFO, with_fid=True, with_accuracy=True)
    assert against.prompts == [Prompt(("walk",), 12), Prompt(("run",), 9)]
    figures = against.figures(load_generator(small_generator, "cpu"), seed=0)
    assert set(figures) == {"fid", "generated_accuracy"} and figures["fid"] > 0
    with pytest.raises(PoseGPTError, match="1 labelled windows"):
        ValidationJudge.of(judge, [batch([[1, 0, 0]])], INFO, with_fid=True, with_accuracy=False)


def step(number, **metrics):
    return TrainingProgress(
        step=number, total=100, seconds_left=75.0, windows_per_second=12.34, terms={"a": 1.0, "b": 0.5},
        metrics=metrics, learning_rate=1e-3, memory=1_234_000_000,
    )  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_line_fits_the_terminal(monkeypatch, width):
    monkeypatch.setenv("TERM", "xterm")  # a dumb one has no live line
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(live, "messages", lambda: console)
    with show_training("train vqvae") as report:
        report(step(40))
        report(step(50, mpjpe=17.4))
    shown = screen.getvalue()
    assert "50/100 loss 1.5000, 12.3 windows/s, 0:01:15 left, 1.2 GB" in shown
    assert "step 50 of 100: loss 1.5000, mpjpe 17.4, 0:01:15 left" in shown


def test_off_a_terminal_a_silent_run_says_a_line_now_and_then(monkeypatch, capsys):
    clock = iter([0.0, 11.0, 11.0, 70.0, 72.0, 72.0])
    monkeypatch.setattr(live.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(live, "messages", lambda: Console(stderr=True, force_terminal=False))
    with show_training("train gpt", by_time=True) as report:
        for number in (1, 2, 3):
            report(step(number))
    first, second = capsys.readouterr().err.splitlines()
    assert first == "step 1 of about 100: loss 1.5000, 12.3 windows/s, 0:01:15 left, 1.2 GB"
    assert second.startswith("step 3 of about 100")


def test_sizes():
    assert [show_size(n) for n in (850e6, 1.24e9, 1000)] == ["850 MB", "1.2 GB", "0 MB"]


def test_a_judge_that_does_not_know_the_labels_is_named(posegpt, runs, tmp_path):
    """`train gpt --eval-fid` went on without a word, while `eval fid` on the same data refused."""
    known = load_judge().info.labels
    unknown = [label for label in ACTIONS if label not in known]
    assert unknown
    ran = posegpt(*SMALL_GPT, "--vqvae", runs / "vqvae" / "default", "--out", tmp_path, "--eval-fid", 1)
    assert ran.code == 0, ran.err
    assert f"does not know {unknown[0]!r}" in ran.err and "posegpt train classifier" in ran.err
