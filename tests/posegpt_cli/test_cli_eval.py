"""`posegpt eval`: every protocol runs, reports are whole, repeatable and refuse to be compared wrongly."""

import base64
import csv
import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data.evaluating.guidance import choose_guidance
from data.evaluating.real import bundled_sets, real_pieces
from data.store import StoreHeader, find_store, open_store
from data.store_writer import StoreWriter
from data.synthetic import make_motion
from models.checkpoint import find_checkpoint
from models.sampling.generate import load_generator

PROTOCOLS = (
    "fid",
    "actions",
    "reconstruction",
    "forecast",
    "classifier",
    "transfer",
    "physics",
    "all",
    "compare",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> dict[str, Path]:
    """A procedural data set, with a generator and a classifier of random weights that know its labels."""
    import torch

    from data.store import find_store, open_store
    from data.synthetic import make_store
    from models.checkpoint import CheckpointInfo, save_checkpoint
    from models.networks.classifier import Classifier
    from models.networks.config import ClassifierConfig, GPTConfig, VQVAEConfig
    from models.networks.gpt import GPT
    from models.networks.vqvae import make_vqvae

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("world")
    data = make_store(root / "data", 18)
    labels = open_store(find_store(data, "val")).label_names
    vqvae = VQVAEConfig(n_codebook=2, n_e=32, e_dim=16, hid_dim=16, n_layers=1, heads=2, n_convs=1)
    gpt = GPTConfig(codes_per_book=16, n_labels=len(labels), gpt_nlayer=1, gpt_nhead=2, gpt_nembd=16)
    judge = ClassifierConfig(hid_dim=8, n_layers=1, heads=2, n_labels=len(labels))
    for stage, config, network in (
        ("vqvae", vqvae, make_vqvae(vqvae)),
        ("gpt", gpt, GPT(gpt)),
        ("classifier", judge, Classifier(judge)),
    ):
        info = CheckpointInfo(
            stage=stage, network=config.model_dump(), body_type="smpl", fps=30.0, labels=labels,
            data_fingerprint="test",
        )  # fmt: skip
        tokenizer = root / "vqvae" if stage == "gpt" else None
        save_checkpoint(root / stage, info, network.state_dict(), tokenizer)
    return {"data": data, **{stage: root / stage for stage in ("vqvae", "gpt", "classifier")}}


@pytest.fixture
def fid(world) -> tuple[object, ...]:
    return (
        "eval", "fid", "--data", world["data"], "--gpt", world["gpt"], "--classifier", world["classifier"],
        "--repeats", 2,
    )  # fmt: skip


@pytest.fixture
def motion_files(tmp_path) -> Path:
    """Three motions as another system might leave them, labels in a table."""
    from data.formats.smpl_npz import write_smpl_npz
    from data.synthetic import make_motion

    folder = tmp_path / "made"
    for k, action in enumerate(("walk", "run", "walk")):
        write_smpl_npz(folder / f"{k}.npz", make_motion(action, 70, seed=k))
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([("clip", "labels"), ("0", "walk"), ("1", "run"), ("2", "walk")])
    return folder


def report_of(ran) -> dict:
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_fid_reports_what_it_was_measured_with_and_repeats_to_the_last_digit(posegpt, fid, world):
    first, again = (report_of(posegpt(*fid, "--json")) for _ in range(2))
    # Six clips of 60 to 120 frames in pieces of at most 64; the second time features come from the cache.
    counts = first["counts"]
    assert counts["validation clips"] == 6 < counts["validation motions"]
    assert counts["motions asked for"] == counts["motions scored"] == 2 * counts["validation motions"]
    assert set(first["fingerprints"]) == {"data", "train data", "classifier", "checkpoint", "tokenizer"}
    assert set(first["figures"]) == {"real", "reconstructed", "generated", "without guidance"}
    assert first["figures"]["generated"]["fid"]["half"] > 0
    for report in (first, again):
        del report["seconds"]
    assert first == again
    assert len(list(world["data"].rglob("eval-features/*.npz"))) == 2


def test_two_seeds_differ(posegpt, fid):
    a, b = (report_of(posegpt(*fid, "--clips", 5, "--seed", s, "--json")) for s in (0, 1))
    assert a["counts"]["validation motions"] == 5
    assert a["figures"]["generated"]["fid"]["mean"] != b["figures"]["generated"]["fid"]["mean"]


def test_the_table_shows_figures_with_intervals_and_the_next_command(posegpt, fid):
    ran = posegpt(*fid)
    assert ran.code == 0, ran.err
    assert re.search(r"^fid( +[\d.]+ ± [\d.]+| +[\d.]+){4} +lower", ran.out, re.MULTILINE)
    for said in ("motions scored", "classifier ", "repeats 2", "note: real motion against real motion"):
        assert said in ran.out
    assert ran.err.splitlines()[-1] == "next: the same command with --out report.html --out report.json"


def test_reports_as_files(posegpt, fid, tmp_path):
    outs = [tmp_path / f"report.{suffix}" for suffix in ("html", "md", "json")]
    picture = tmp_path / "plots.png"
    words = [word for out in (*outs, picture) for word in ("--out", out)]
    assert posegpt(*fid, *words).code == 0
    page, text, kept = (out.read_text() for out in outs)
    (encoded,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    png = b"\x89PNG\r\n"
    assert base64.b64decode(encoded).startswith(png) and picture.read_bytes().startswith(png)
    assert "| fid |" in text and "![plots](report.png)" in text and (tmp_path / "report.png").exists()
    for content in (page, text):
        assert json.loads(kept)["fingerprints"]["classifier"] in content
    refused = posegpt(*fid, *words)
    assert refused.code == 1 and "exists already" in refused.err
    assert posegpt(*fid, "--out", tmp_path / "report.pdf").code == 2


@pytest.fixture
def reported(world) -> tuple[object, ...]:
    """An evaluation that takes a second."""
    return "eval", "physics", "--data", world["data"], "--gpt", world["gpt"], "--clips", 2, "--seams", 0


@pytest.fixture
def no_work(monkeypatch):
    """Fail as soon as anything is evaluated: what is refused must be refused before."""
    from data.evaluating import protocols

    for name in ("evaluate_fid", "evaluate_physics"):
        monkeypatch.setattr(protocols, name, lambda *_: pytest.fail("the work was begun"))


def test_the_plots_of_a_report_replace_nothing_without_force(posegpt, reported, no_work, tmp_path):
    """A report.png that had nothing to do with it was overwritten."""
    (tmp_path / "report.png").write_text("mine")
    ran = posegpt(*reported, "--out", tmp_path / "report.md")
    assert ran.code == 1 and "report.png exists already" in ran.err
    assert (tmp_path / "report.png").read_text() == "mine"


def test_a_report_and_its_plots_may_both_be_named(posegpt, reported, tmp_path):
    """The second was refused, because the first had written it: after all the work."""
    outs = ("--out", tmp_path / "report.md", "--out", tmp_path / "report.png")
    ran = posegpt(*reported, *outs)
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.md", "report.png"]


@pytest.mark.parametrize(
    ("out", "code", "said"),
    [("text/report.html", 1, "cannot write into"), ("folder.html", 2, "is a folder"), ("a.pdf", 2, ".pdf")],
)
def test_reports_that_cannot_be_written_are_refused_before_the_work(
    posegpt, reported, no_work, tmp_path, out, code, said
):
    """It was found out minutes later, and the figures were lost."""
    (tmp_path / "text").write_text("no folder")
    (tmp_path / "folder.html").mkdir()
    ran = posegpt(*reported, "--out", tmp_path / out)
    assert ran.code == code and said in ran.err, ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("physics", "--data", "d", "--generated", "g", "--gpt", "r"), "--generated does not go with --gpt"),
        (("fid", "--labels", "l.csv"), "--labels are those of --generated"),
        (("fid", "--generated", "g", "--repeats", 3), "--generated does not go with --repeats"),
        (("fid", "--generated", "g", "--top-p", 0.9), "--generated does not go with --top-p"),
    ],
)
def test_what_would_not_count_is_refused(posegpt, no_work, words, said):
    """It was passed over in silence."""
    ran = posegpt("eval", *words)
    assert ran.code == 2 and said in ran.err


def test_motion_of_any_system_can_be_scored(posegpt, world, motion_files):
    words = (
        "eval", "fid", "--data", world["data"], "--classifier", world["classifier"],
        "--generated", motion_files, "--labels", motion_files.parent / "labels.csv", "--json",
    )  # fmt: skip
    report = report_of(posegpt(*words))
    assert report["counts"]["motions scored"] == 6  # 70 frames in two pieces each
    assert report["figures"]["generated"]["fid"]["half"] is None
    assert report["settings"]["source"] == "files"
    before = report["fingerprints"]["generated"]
    (motion_files.parent / "labels.csv").write_text("clip,labels\n0,walk\n1,walk\n2,walk\n")
    assert report_of(posegpt(*words))["fingerprints"]["generated"] != before
    (motion_files.parent / "labels.csv").write_text("clip,labels\n0,walk\n")
    refused = posegpt(*words)
    assert refused.code == 1 and "1.npz has no label" in refused.err


def test_bvh_files_are_scored_too(posegpt, world, bvh_folder, tmp_path):
    folder = ("--generated", bvh_folder)
    report = report_of(posegpt("eval", "physics", "--data", world["data"], "--clips", 5, *folder, "--json"))
    assert report["counts"] == {"generated motions": 12, "real motions": 5}  # they need no labels
    labels = tmp_path / "labels.json"
    known = {"wave": "wave-both-hands"}  # the others are names that the bundled judge knows as they are
    actions = {path.stem: path.stem.split("_")[0] for path in bvh_folder.glob("*.bvh")}
    labels.write_text(json.dumps({stem: known.get(action, action) for stem, action in actions.items()}))
    report = report_of(posegpt("eval", "fid", *folder, "--labels", labels, "--json"))
    assert report["counts"]["motions scored"] == 12


def test_motion_files_are_scored_with_what_is_in_the_box_alone(posegpt, motion_files):
    ran = posegpt("eval", "fid", "--generated", motion_files, "--json")  # labels are in the files
    report = report_of(ran)
    assert report["counts"]["validation clips"] == 352
    assert 0 < report["figures"]["real"]["fid"]["mean"] < report["figures"]["generated"]["fid"]["mean"]


def test_the_bundled_classifier_knows_the_names(posegpt):
    figures = report_of(posegpt("eval", "classifier", "--json"))["figures"]
    assert figures["classifier"]["clip accuracy"]["mean"] >= 0.97
    assert figures["classifier"]["clip accuracy, mean over names"]["mean"] >= 0.93
    assert figures["classifier"]["style accuracy"]["mean"] > 0.9
    assert figures["shuffled labels"]["name accuracy"]["mean"] < 0.3


def test_the_features_in_the_box_are_those_of_the_classifier_in_the_box():
    from models.evaluation.judge import load_judge, load_second_judge

    judge, sets = load_judge(None, "cpu"), bundled_sets(64)
    for features in (sets.held_out.first, sets.train):
        assert features.classifier == judge.fingerprint
        assert features.label_names == judge.info.labels
        # The head, applied to the features that were kept, gives the logits that were kept.
        import torch

        logits = judge.network.head(torch.from_numpy(features.features)).numpy()
        assert abs(logits - features.logits).max() < 0.05
        scores = judge.network.name_head(torch.from_numpy(features.features)).numpy()
        assert abs(scores - features.name_scores).max() < 0.05
    second = sets.held_out.second
    assert second.classifier == load_second_judge(None, "cpu").fingerprint != judge.fingerprint
    assert second.lengths.tolist() == sets.held_out.first.lengths.tolist()
    size = sum(path.stat().st_size for path in Path("models/pretrained/classifier").rglob("*"))
    assert size < 4e6


def test_reconstruction_physics_and_forecast(posegpt, world, tmp_path):
    data, gpt = ("--data", world["data"]), ("--gpt", world["gpt"])
    found = report_of(
        posegpt("eval", "reconstruction", *data, "--vqvae", world["gpt"], "--clips", 3, "--json")
    )
    assert found["counts"]["motions scored"] == 3
    assert found["figures"]["reconstruction"]["mpjpe"]["mean"] > 0
    found = report_of(posegpt("eval", "physics", *data, *gpt, "--clips", 9, "--seams", 2, "--json"))
    assert found["counts"] == {"generated motions": 9, "real motions": 9}
    assert set(found["figures"]) == {"generated", "real", "timelines", "forecasts"}
    short = ("--past", 1, "--past", 8, "--future", 10, "-k", 2, "--clips", 2)
    out = tmp_path / "forecast.png"
    found = report_of(posegpt("eval", "forecast", *data, *gpt, *short, "--json", "--out", out))
    assert found["counts"]["forecasts"] == 2 * 2 * 2
    assert len(found["figures"]) == 1 + 2 * 3
    assert out.exists()

    # The bundled classifier does not know all of these labels; one that does judges the futures.
    assert "fid" not in found["figures"]["real"] and "no FID" in found["notes"][-1]
    judge = ("--classifier", world["classifier"])
    found = report_of(posegpt("eval", "forecast", *data, *gpt, *judge, *short, "--json"))
    assert found["figures"]["model, past 8"]["fid"]["mean"] > 0
    assert {"fid", "name accuracy"} <= set(found["figures"]["real"])

    # A set to test on alone: without training motion there is no real set to compare with.
    alone = tmp_path / "alone" / "val"
    shutil.copytree(find_store(world["data"], "val"), alone)
    words = ("--data", alone.parent, "--gpt", world["gpt"])
    found = report_of(posegpt("eval", "forecast", *words, *judge, *short, "--json"))
    assert "fid" not in found["figures"]["real"] and found["figures"]["model, past 8"]["fid"]["mean"] > 0


@pytest.fixture(scope="module")
def more_data(tmp_path_factory) -> Path:
    """Procedural data with several training clips of every action."""
    from data.synthetic import make_store

    return make_store(tmp_path_factory.mktemp("more") / "data", 60)


def test_every_action_in_a_table_with_a_sheet_of_the_worst(posegpt, world, more_data, tmp_path):
    words = ("eval", "actions", "--data", more_data, "--classifier", world["classifier"])
    words = (*words, "--gpt", world["gpt"], "--per-name", 2, "--worst", 2)
    outs = [tmp_path / name for name in ("actions.html", "actions.md", "actions.json")]
    ran = posegpt(*words, *(word for out in outs for word in ("--out", out)))
    assert ran.code == 0, ran.err
    found = json.loads(outs[2].read_text())
    table = found["tables"]["by name, worst first"]
    missing = [row[table["columns"].index("missing")] for row in table["rows"]]
    assert missing == sorted(missing, reverse=True) and len(missing) == found["counts"]["names"] > 2
    assert found["counts"]["generated motions"] == 2 * found["counts"]["names"]
    sheet = (tmp_path / "actions_worst.png").read_bytes()
    page, text = (out.read_text() for out in outs[:2])
    assert base64.b64encode(sheet).decode() in page and "![the worst](actions_worst.png)" in text
    assert str(table["rows"][0][0]) in ran.out and "| name | clips | missing |" in text
    refused = posegpt(*words, "--out", tmp_path / "other.html", "--out", tmp_path / "actions.md")
    assert refused.code == 1 and "exists already" in refused.err
    (tmp_path / "other_worst.png").write_text("mine")
    refused = posegpt(*words, "--out", tmp_path / "other.html")
    assert refused.code == 1 and "other_worst.png exists already" in refused.err


def test_some_actions_of_motion_files(posegpt, world, more_data, motion_files):
    words = ("eval", "actions", "--data", more_data, "--classifier", world["classifier"])
    words = (*words, "--generated", motion_files, "--labels", motion_files.parent / "labels.csv")
    found = report_of(posegpt(*words, "--action", "walk", "--json"))
    assert [row[0] for row in found["tables"]["by name, worst first"]["rows"]] == ["walk"]
    refused = posegpt(*words, "--action", "swim")
    assert refused.code == 1 and "one of the names asked for" in refused.err
    assert posegpt(*words, "--per-name", 3).code == 2


def test_each_action_gets_its_guidance(posegpt, world, more_data, tmp_path):
    """Measured, written into the checkpoint on request only, shown by `actions`, and used by sampling."""
    gpt = shutil.copytree(world["gpt"], tmp_path / "gpt")
    words = ("eval", "guidance", "--data", more_data, "--gpt", gpt, "--classifier", world["classifier"])
    words = (*words, "--per-name", 2, "--value", 3, "--value", 1, "--max-frames", 24)
    before = (gpt / "config.json").read_bytes()
    found = report_of(posegpt(*words, "--json"))
    assert (gpt / "config.json").read_bytes() == before
    assert set(found["figures"]) == {"guidance 1", "guidance 3", "each its best", "real"}

    again = report_of(posegpt(*words, "--keep", "--json"))
    chosen = {row[0]: row[1] for row in again["tables"]["what is missing, by guidance"]["rows"]}
    about = json.loads(posegpt("actions", "--gpt", gpt, "--json").out)["labels"]
    assert chosen
    for name, guidance in chosen.items():
        assert about[name]["guidance"] == guidance
        assert about[name]["quality"] in {"good", "fair", "weak"}
    assert load_generator(gpt, "cpu").facts[next(iter(chosen))].guidance is not None


@pytest.mark.parametrize(
    ("missing", "best"),
    [
        ((0.5, 0.4, 0.1, 0.1, 0.3), 3),
        ((0.10, 0.11, 0.10, 0.14, 0.10), 3),
        ((0.5, 0.0, 0.5, 0.1, 0.1), 4),
        ((0.3, 0.3, 0.3, 0.2, 0.0), 4),
        ((0.0, 0.1, 0.3, 0.3, 0.3), 1),
    ],
)
def test_another_guidance_is_chosen_where_it_is_clearly_better(missing, best):
    assert choose_guidance((1, 1.5, 2, 3, 4), missing) == best


@pytest.mark.parametrize(
    ("asked", "spread", "best"),
    [
        ((0.5, 0.0, 0.0, 0.0, 0.0), (1.2, 1.0, 0.9, 0.5, 0.4), 2),
        ((0.5, 0.5, 0.5, 0.0, 0.0), (1.2, 1.0, 0.9, 0.5, 0.4), 3),
        ((0.0, 0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 0.95, 0.95, 0.9), 3),
        ((0.0, 0.0, 0.0, 0.0, 0.0), (2.5, 2.2, 2.0, 1.5, 1.0), 4),
        ((0.0, 0.0, 0.0, 0.0, 0.0), (float("nan"), 1.0, 1.0, 0.5, 0.5), 3),
    ],
)
def test_a_more_varied_guidance_is_chosen_where_nothing_asked_for_is_lost(asked, spread, best):
    assert choose_guidance((1, 1.5, 2, 3, 4), (0.1,) * 5, asked, spread) == best


def test_generation_from_an_observed_past_is_judged(posegpt, fid):
    found = report_of(posegpt(*fid, "--past-frames", 12, "--json"))
    assert found["settings"]["observed"] == 12
    plain = report_of(posegpt(*fid, "--json"))
    assert found["counts"]["validation motions"] <= plain["counts"]["validation motions"]
    assert found["figures"]["generated"]["fid"] != plain["figures"]["generated"]["fid"]
    refused = posegpt(*fid, "--past-frames", 500)
    assert refused.code == 1 and "--past-frames" in refused.err
    assert "--data is missing" in posegpt("eval", "fid", "--past-frames", 8).err


def test_likelihood_on_several_splits(posegpt, world):
    words = ("eval", "likelihood", "--data", world["data"], "--gpt", world["gpt"], "--clips", 5, "--json")
    found = report_of(posegpt(*words, "--split", "val", "--split", "train"))
    assert found["counts"] == {"val motions": 5, "train motions": 5}
    # 16 codes of random weights.
    assert found["figures"]["val"]["nll"]["mean"] == pytest.approx(2.77, abs=0.3)
    assert found["figures"]["val"]["elbo"]["mean"] < found["figures"]["val"]["likelihood"]["mean"]


def test_transfer(posegpt, world):
    words = ("--data", world["data"], "--gpt", world["gpt"], "--clips", 6, "--steps", 3)
    found = report_of(posegpt("eval", "transfer", *words, "--json"))
    assert set(found["figures"]) == {"trained on generated", "trained on real"}
    assert found["counts"]["training motions of each"] == 6


@pytest.mark.slow
def test_all_of_them_in_one_report(posegpt, world, tmp_path):
    out = [tmp_path / "all.json", tmp_path / "all.html", tmp_path / "all.png"]
    words = [word for path in out for word in ("--out", path)]
    nets = ("--gpt", world["gpt"], "--classifier", world["classifier"], "--data", world["data"])
    ran = posegpt("eval", "all", *nets, "--repeats", 2, "--clips", 4, "--steps", 3, *words)
    assert ran.code == 0, ran.err
    reports = json.loads(out[0].read_text())["reports"]
    assert [report["protocol"] for report in reports] == [
        "fid", "classifier", "reconstruction", "physics", "forecast", "likelihood", "transfer",
    ]  # fmt: skip
    assert posegpt("eval", "compare", out[0], out[0]).code == 0


def test_compare_shows_differences_and_refuses_what_differs_in_kind(posegpt, fid, tmp_path):
    a, b, other = (tmp_path / f"{name}.json" for name in "abc")
    assert posegpt(*fid, "--out", a).code == 0
    assert posegpt(*fid, "--seed", 1, "--out", b).code == 0
    rows = json.loads(posegpt("eval", "compare", a, b, "--json").out)["differences"]
    (row,) = [r for r in rows if r["figure"] == "fid" and r["group"] == "generated"]
    assert float(row["difference"]) != 0
    same = posegpt("eval", "compare", a, a).out
    assert "alike" in same and "differs" not in same
    changed = json.loads(a.read_text())
    changed["fingerprints"]["classifier"] = "another"
    other.write_text(json.dumps(changed))
    refused = posegpt("eval", "compare", a, other)
    assert refused.code == 1
    assert "cannot be compared: classifier is" in refused.err and "another" in refused.err
    other.write_text("{}")
    assert "no report of posegpt eval" in posegpt("eval", "compare", a, other).err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("physics",), 2, "--data is missing"),
        (("fid", "--classifier", "nowhere"), 2, "--data is missing"),
        (("fid", "--gpt", "a", "--generated", "b"), 2, "--generated does not go with --gpt"),
        (("fid", "--max-frames", "32"), 1, "up to 64 frames"),
        (("reconstruction", "--data", "nowhere", "--vqvae", "nowhere"), 1, "nowhere"),
        (("compare", "nowhere.json", "b.json"), 1, "nowhere.json"),
    ],
)
def test_what_is_wrong_is_said_in_two_lines(posegpt, tmp_path, monkeypatch, words, code, said):
    monkeypatch.chdir(tmp_path)
    ran = posegpt("eval", *words)
    assert ran.code == code
    assert len(ran.err.splitlines()) == 2 and said in ran.err


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_help_of_every_protocol(posegpt, protocol):
    ran = posegpt("eval", protocol, "--help")
    assert ran.code == 0 and f"posegpt eval {protocol}" in ran.out.partition("Examples")[2]


SHARED = {
    "fid": ("--clips", 7, "--repeats", 2),
    "actions": ("--per-name", 2),
    "physics": ("--clips", 7, "--seams", 1),
    "forecast": ("--clips", 3, "--past", 8, "--future", 10, "-k", 2),
    "likelihood": ("--clips", 7, "--split", "val"),
    "transfer": ("--clips", 7, "--steps", 3, "--repeats", 2),
    "all": ("--clips", 7, "--steps", 3, "--repeats", 1, "--unguided", 0),
}
"""Small settings of protocols that several processes share."""


@pytest.mark.slow
@pytest.mark.parametrize("protocol", SHARED)
def test_two_processes_find_what_one_finds(posegpt, world, more_data, protocol):
    words = ["eval", protocol, "--data", more_data, "--gpt", world["gpt"], *SHARED[protocol], "--json"]
    if protocol in ("fid", "actions", "forecast", "all"):
        words += ["--classifier", world["classifier"]]
    alone = report_of(posegpt(*words))
    script = Path(sys.executable).with_name("posegpt")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python", script]
    ran = subprocess.run([*launcher, *map(str, words)], capture_output=True, text=True, timeout=400)
    assert ran.returncode == 0, ran.stderr
    together = json.loads(ran.stdout)
    for one, two in zip(alone.get("reports", [alone]), together.get("reports", [together]), strict=True):
        assert two["counts"] == one["counts"]
        for group, figures in one["figures"].items():
            for name, value in figures.items():
                found = two["figures"][group][name]["mean"]
                if value["mean"] is None:
                    assert found is None, (group, name)
                else:
                    assert found == pytest.approx(value["mean"], rel=2e-3, abs=1e-4), (group, name)


def test_clips_without_labels_are_no_reference_for_labels(tmp_path):
    motions = [make_motion("walk", 20, 1), dataclasses.replace(make_motion("bow", 20, 2), labels=())]
    with StoreWriter(
        tmp_path / "s", StoreHeader(split="val", body_type="smpl", fps=30, label_names=("walk", "bow"))
    ) as writer:
        for k, motion in enumerate(motions):
            writer.add(motion, f"{k}.bvh")
    store = open_store(tmp_path / "s")
    assert [m.labels for m in real_pieces(store, 64).motions] == [("walk",), ()]
    assert [m.labels for m in real_pieces(store, 64, labelled=True).motions] == [("walk",)]


def test_clips_of_labels_that_no_judge_knows_are_left_out_and_told(posegpt, tmp_path):
    """One such clip, and the whole data set was refused."""
    for split in ("train", "val"):
        header = StoreHeader(split=split, body_type="smpl", fps=30, label_names=("walk", "bow", "juggle"))
        with StoreWriter(tmp_path / "data" / split, header) as writer:
            for k, name in enumerate(("walk", "bow", "juggle", "walk", "bow", "walk")):
                motion = make_motion("walk", 30 + k, k)
                writer.add(dataclasses.replace(motion, labels=(name,)), f"{split}-{k}.bvh")
    data = ("--data", tmp_path / "data", "--json")
    few = ("--repeats", 1, "--unguided", 0)
    judge = ("--classifier", find_checkpoint(None, "classifier"))
    forecast = ("--past", 8, "--future", 10, "-k", 2, *judge)
    for protocol, options in (("fid", few), ("classifier", ()), ("forecast", forecast)):
        found = report_of(posegpt("eval", protocol, *data, *options))
        left_out = [note for note in found["notes"] if "left out" in note]
        assert left_out == ["1 clips are left out, whose labels the classifier does not know: juggle"], (
            protocol
        )

    for split in ("train", "val"):
        shutil.rmtree(tmp_path / "data" / split)
        with StoreWriter(tmp_path / "data" / split, header.replaced(split=split)) as writer:
            writer.add(dataclasses.replace(make_motion("walk", 30, 1), labels=("juggle",)), "0.bvh")
    ran = posegpt("eval", "classifier", *data)
    assert ran.code == 1 and "the classifier does not know the labels of" in ran.err


def test_options_of_motion_files_need_motion_files(posegpt):
    ran = posegpt("eval", "physics", "--up", "z")
    assert ran.code == 2 and "--up is for motion files" in ran.err and "--generated DIR" in ran.err
