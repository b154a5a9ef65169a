"""`posegpt prepare` and `posegpt actions --data`."""

import json
import shlex
import shutil

import pytest

from data.store import find_store, open_store
from tests.data.miniature import label, record, write_babel, write_recording

SNAKE = """HIERARCHY
ROOT a
{
  OFFSET 0 0 0
  CHANNELS 3 Zrotation Xrotation Yrotation
  JOINT b
  {
    OFFSET 0 10 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 10 0
    }
  }
}
MOTION
Frames: 1
Frame Time: 0.0333333
0 0 0 0 0 0
"""
"""An animal without legs."""
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
    rows = {line.split()[0]: line.split()[1:] for line in ran.out.splitlines()[:4]}
    assert rows["split"] == ["clips", "windows", "frames", "hours"]
    assert int(rows["train"][0]) + int(rows["val"][0]) + int(rows["test"][0]) == 12
    assert "style:elderly" in ran.out and "walk" in ran.out
    fine_tune = "--preset tiny --init pretrained --minutes 8"
    assert ran.err.splitlines()[-1] == f"next: posegpt train gpt --data {tmp_path} {fine_tune}"
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
    assert "warning: left out 1 file: it " in ran.err and "(broken_happy_1.bvh)" in ran.err


def test_files_left_out_are_grouped_by_reason_and_the_loss_is_loud(posegpt, bvh_folder, tmp_path):
    (tmp_path / "in" / "walk").mkdir(parents=True)
    for file in sorted(bvh_folder.iterdir())[:4]:
        (tmp_path / "in" / "walk" / file.name).write_bytes(file.read_bytes())
    for name in ("a1", "b22", "c333"):
        (tmp_path / "in" / "walk" / f"{name}.bvh").write_text("HIERARCHY")
    (tmp_path / "in" / "walk" / "d.bvh").write_text("")
    ran = posegpt("prepare", "--bvh", tmp_path / "in", "--out", tmp_path / "out")
    assert ran.code == 0
    warnings = [line for line in ran.err.splitlines() if line.startswith("warning: left out")]
    assert warnings[0].startswith("warning: left out 3 files: it ")
    assert "(walk/a1.bvh, walk/b22.bvh, walk/c333.bvh)" in warnings[0]
    assert "WARNING: only 4 of 8 files used, 4 left out (50% lost)" in ran.err
    told = json.loads(posegpt("prepare", "--bvh", tmp_path / "in", "--out", tmp_path / "o", "--json").out)
    assert [len(group["files"]) for group in told["reasons"]] == [3, 1]


def test_a_folder_name_as_the_only_label_is_said_aloud(posegpt, bvh_folder, tmp_path):
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for file in sorted(bvh_folder.iterdir())[:4]:
        (recordings / file.name).write_bytes(file.read_bytes())
    words = ("prepare", "--bvh", recordings, "--out", tmp_path / "out")
    assert "all clips have the label 'recordings', the folder's name" in posegpt(*words).err
    given = posegpt(*words, "--force", "--label-pattern", "(?P<action>.*)")
    assert given.code == 0 and "the folder's name" not in given.err


def test_nothing_usable_exits_with_1_and_counts_the_reasons(posegpt, tmp_path):
    """It said "none of the 0 files in" for clips without labels."""
    (tmp_path / "in").mkdir()
    for name in ("a.bvh", "b.bvh"):
        (tmp_path / "in" / name).write_text("HIERARCHY")
    (tmp_path / "labels.csv").write_text("clip,labels\nc,walk\n")
    words = ("prepare", "--bvh", tmp_path / "in", "--out", tmp_path / "out")
    broken = posegpt(*words)
    assert (
        broken.code == 1 and "none of the 2 files in" in broken.err and "could be used; 2: it " in broken.err
    )
    without = posegpt(*words, "--labels", tmp_path / "labels.csv")
    assert without.code == 1 and "could be used; 2: no label by labels.csv (a.bvh)" in without.err


def test_rows_of_tables_that_name_no_file_are_told(posegpt, bvh_folder, tmp_path):
    """A misspelt clip in a table of labels or splits was passed over without a word."""
    names = [path.stem for path in sorted(bvh_folder.iterdir())]
    splits = tmp_path / "splits.csv"
    splits.write_text("clip,split\n" + "".join(f"{name},train\n" for name in [*names, "gone"]))
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(dict.fromkeys([*names, *(f"typo{k}" for k in range(7))], "walk")))
    words = ("prepare", "--bvh", bvh_folder, "--out", tmp_path / "out", "--labels", labels, "--json")
    ran = posegpt(*words, "--split-list", splits)
    warnings = [line for line in ran.err.splitlines() if line.startswith("warning")]
    assert warnings == [
        "warning: rows of labels.json that name no file (7): typo0, typo1, typo2, typo3, typo4 and 2 more",
        "warning: rows of splits.csv that name no file (1): gone",
    ]
    told = json.loads(ran.out)["unmatched"]
    assert told[0] == {"table": "labels.json", "row": "typo0"} and len(told) == 8
    assert len(json.loads(posegpt(*words, "--force", "--dry-run").out)["unmatched"]) == 7


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
    assert plan["label_names"] == ["walk", "wave", "style:elderly", "style:happy"]
    assert len(plan["stores"]) == 3 and plan["finished"] == 0
    assert not (tmp_path / "x").exists()


def test_dry_run_reads_headers_and_says_what_will_be_refused(posegpt, bvh_folder, tmp_path):
    """It counted all files as good, and the work ended with few of them."""
    folder = tmp_path / "in" / "walk"
    folder.mkdir(parents=True)
    good = sorted(bvh_folder.iterdir())[0].read_text()
    contents = {
        "good": good,
        "empty": "",
        "damaged": "HIERARCHY",
        "snake": SNAKE,
    }
    for name, content in contents.items():
        (folder / f"{name}.bvh").write_text(content)
    words = ("prepare", "--bvh", tmp_path / "in", "--out", tmp_path / "out", "--json")
    planned = json.loads(posegpt(*words, "--dry-run").out)
    assert not (tmp_path / "out").exists()
    refused = dict(planned["skipped"])
    assert sorted(refused) == [f"walk/{name}.bvh" for name in ("damaged", "empty", "snake")]
    done = json.loads(posegpt(*words).out)
    assert refused == {entry["file"]: entry["reason"] for entry in done["skipped"]}
    shown = posegpt(*words[:-1], "--dry-run")
    assert "warning: would leave out 1 file: it is empty (walk/empty.bvh)" in shown.err


def test_existing_data_is_kept_unless_forced(posegpt, bvh_folder, prepared):
    words = ("prepare", "--bvh", bvh_folder, "--out", prepared, "--label-pattern", PATTERN)
    ran = posegpt(*words, "--seed", 5)
    assert ran.code == 1
    assert "exists already" in ran.err and "--force" in ran.err
    again = posegpt(*words)
    assert again.code == 0 and "already prepared" in again.err and "walk" in again.out
    assert posegpt(*words, "--force").code == 0


def test_an_empty_folder_is_two_lines(posegpt, tmp_path):
    ran = posegpt("prepare", "--bvh", tmp_path, "--out", tmp_path / "out")
    assert ran.code == 1
    assert len(ran.err.splitlines()) == 2
    assert "no .bvh file" in ran.err


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ([], "one of --babel, --amass, --bvh, --amc, --files, --humanact12, --grab"),
        (["--bvh", "x"], "--out"),
    ],
)
def test_missing_choices_off_a_terminal_name_the_flag(posegpt, given, missing):
    ran = posegpt("prepare", *given)
    assert ran.code == 2
    assert ran.err.splitlines()[0] == f"error: {missing} is missing"


def test_check_reads_all_and_tells_what_is_damaged(posegpt, bvh_folder, tmp_path):
    posegpt("prepare", "--bvh", bvh_folder, "--out", tmp_path, "--label-pattern", PATTERN)
    ran = posegpt("prepare", "--check", tmp_path)
    assert ran.code == 0 and ran.out.count("whole") == 3
    poses = find_store(tmp_path, "train") / "poses.npy"
    content = bytearray(poses.read_bytes())
    content[-2] ^= 1
    poses.write_bytes(content)
    ran = posegpt("prepare", "--check", tmp_path)
    assert ran.code == 1 and ran.out.count("whole") == 2
    assert "1 of 3 stores are damaged" in ran.err
    assert posegpt("prepare", "--check", tmp_path / "nowhere").code == 1


def test_preview_is_a_sheet_of_windows(posegpt, bvh_folder, tmp_path):
    from PIL import Image

    words = ("prepare", "--bvh", bvh_folder, "--out", tmp_path, "--label-pattern", PATTERN)
    assert posegpt(*words, "--preview", tmp_path / "windows.jpg").code == 2
    assert posegpt(*words, "--preview", tmp_path / "windows.png").code == 0
    with Image.open(tmp_path / "windows.png") as sheet:
        assert sheet.size == (4 * 360 + 3 * 2, 3 * 300 + 2 * 2)  # twelve clips
        darkest = sheet.convert("L").getextrema()[0]
    assert darkest < 80  # titles and people
    assert posegpt("prepare", "--check", tmp_path, "--preview", tmp_path / "again.png").code == 0
    with Image.open(tmp_path / "again.png") as again:
        assert again.size == sheet.size
    refused = posegpt("prepare", "--check", tmp_path, "--preview", tmp_path / "again.png")
    assert refused.code == 1 and "again.png exists already" in refused.err
    assert posegpt("prepare", "--check", tmp_path, "--preview", tmp_path / "again.png", "--force").code == 0


@pytest.mark.parametrize(
    "words", [("--bvh", "x"), ("--out", "x"), ("--dry-run",), ("--seq-len", 8), ("--force",)]
)
def test_check_only_reads(posegpt, prepared, words):
    ran = posegpt("prepare", "--check", prepared, *words)
    assert ran.code == 2 and f"--check does not go with {words[0]}" in ran.err


def test_a_preview_that_cannot_be_drawn_is_refused_before_the_work(posegpt, bvh_folder, tmp_path):
    """One that existed was overwritten; with --shard, which makes no data, it was passed over in silence."""
    picture = tmp_path / "windows.png"
    picture.write_text("mine")
    words = ("prepare", "--bvh", bvh_folder, "--out", tmp_path / "out", "--preview", picture)
    ran = posegpt(*words)
    assert ran.code == 1 and "windows.png exists already" in ran.err and picture.read_text() == "mine"
    ran = posegpt(*words, "--shard", "1/2")
    assert ran.code == 2 and "--preview does not go with --shard" in ran.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--bvh", "x", "--untrimmed"), "--untrimmed goes with --babel, not with --bvh"),
        (("--bvh", "x", "--amc-fps", 60), "--amc-fps goes with --amc, not with --bvh"),
        (("--amass", "x", "--t-pose-frame", 0), "goes with --bvh, --amc or --files, not with --amass"),
        (
            ("--babel", "x", "--amass", "y", "--label-pattern", "p"),
            "--label-pattern goes with --amass, --bvh, ",
        ),
        (("--bvh", "x", "--split-list", "s.csv", "--val-share", 0), "does not go with --val-share"),
    ],
)
def test_options_that_nothing_hangs_on_are_refused(posegpt, tmp_path, words, said):
    """They were passed over in silence."""
    ran = posegpt("prepare", "--out", tmp_path / "out", *words)
    assert ran.code == 2 and said in ran.err


def test_what_follows_can_be_typed_for_a_folder_with_spaces(posegpt, bvh_folder, tmp_path):
    ran = posegpt("prepare", "--bvh", bvh_folder, "--out", tmp_path / "my data", "--label-pattern", PATTERN)
    assert str(tmp_path / "my data") in shlex.split(ran.err.splitlines()[-1])


def test_labels_from_the_names_of_a_known_set_are_told(posegpt, bvh_folder, tmp_path):
    for k, path in enumerate(sorted(bvh_folder.glob("*.bvh"))[:4]):
        shutil.copy(path, tmp_path / f"dataset-1_walk_angry_{k:03}.bvh")
    words = ("prepare", "--bvh", tmp_path, "--out", tmp_path / "out")
    said = "labels and styles come from the file names, which are the Bandai set's"
    assert said in posegpt(*words).err
    assert said not in posegpt(*words, "--force", "--label-pattern", PATTERN).err


def test_shards_meet(posegpt, bvh_folder, tmp_path):
    words = ("prepare", "--bvh", bvh_folder, "--out", tmp_path / "two", "--label-pattern", PATTERN)
    assert "converted 6 files of shard 1/2" in posegpt(*words, "--shard", "1/2").err
    early = posegpt(*words, "--merge")
    assert early.code == 1 and "6 of 12 files are not converted yet" in early.err
    assert posegpt(*words, "--shard", "2/2").code == 0
    assert not list((tmp_path / "two").rglob("manifest.json"))
    plan = json.loads(posegpt(*words, "--dry-run", "--json").out)
    assert (plan["files"], plan["finished"]) == (12, 12)
    assert posegpt(*words, "--merge").code == 0
    whole = (*words[:3], "--out", tmp_path / "one", *words[5:])
    assert posegpt(*whole).code == 0
    one, two = (open_store(find_store(tmp_path / name, "train")).manifest for name in ("one", "two"))
    assert one.fingerprint == two.fingerprint
    assert [p.name for p in (tmp_path / "two").iterdir()] == ["smpl"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--type", "smplz"), "type must be of smpl, smplh, smplx, got smplz"),
        (("--split", "dev"), "split must be of train, val, test, got dev"),
        (("--overlap", 64), "--overlap (64) must be less than --seq-len (64)"),
        (("--shard", "4/3"), "must be like 3/16"),
        (("--babel", "x"), "needs"),
        (("--skeleton", "mixamos"), "no skeleton 'mixamos'"),
    ],
)
def test_choices_that_make_no_sense(posegpt, bvh_folder, tmp_path, words, message):
    ran = posegpt("prepare", "--bvh", bvh_folder, "--out", tmp_path / "out", *words)
    assert ran.code in (1, 2) and message in ran.err
    assert not (tmp_path / "out").exists()


def test_actions_of_a_data_set(posegpt, prepared):
    ran = posegpt("actions", "--data", prepared)
    assert ran.out.split() == ["walk", "wave", "style:elderly", "style:happy"]


def test_actions_of_a_checkpoint(posegpt, small_generator):
    ran = posegpt("actions", "--gpt", small_generator)
    assert ran.out.split() == ["walk", "run", "wave", "style:elderly", "style:happy"]
    asked = f"--gpt {small_generator} --action walk --style elderly --out walk.mp4"
    assert ran.err == f"next: posegpt sample {asked}\n"


def test_actions_wants_one_source(posegpt, small_generator, prepared):
    assert posegpt("actions", "--gpt", small_generator, "--data", prepared).code == 2
    ran = posegpt("actions", "--data", prepared / "nowhere")
    assert ran.code == 1
    assert len(ran.err.splitlines()) == 2


def test_the_next_command_names_one_of_several_stores(posegpt, tmp_path):
    """With several body types under one --out, training there would have to ask which."""
    source = "smplh/CMU/01/01_01_poses.npz"
    write_recording(tmp_path / "amass", source, 200, 60)
    write_babel(tmp_path, train=[record(1, f"CMU/{source[6:]}", 3.0, seq=[label(["walk"])])])
    ran = posegpt("prepare", "--babel", tmp_path, "--amass", tmp_path / "amass", "--out", tmp_path / "out")
    data = ran.err.splitlines()[-1].partition("--data ")[2]
    assert open_store(data).manifest.body_type == "smpl" and data == str(find_store(data, "train"))


def test_what_an_interrupted_run_of_other_settings_left_is_named(posegpt, bvh_folder, tmp_path):
    """Faults 7: it stayed unseen, as large as a data set."""
    left = tmp_path / "out" / ".posegpt-work-01234567"
    left.mkdir(parents=True)
    (left / "1.log").write_bytes(b"x" * 3_000_000)
    ran = posegpt("prepare", "--bvh", bvh_folder, "--label-pattern", PATTERN, "--out", tmp_path / "out")
    assert ran.code == 0
    assert f"{left} keeps 3 MB of an interrupted prepare" in ran.err
    assert (left / "1.log").exists()


def test_a_draft_of_the_map_is_written_instead_of_data(posegpt, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "snake.bvh").write_text(SNAKE)
    words = ("prepare", "--bvh", folder, "--out", tmp_path / "out", "--write-skeleton", tmp_path / "map.json")
    ran = posegpt(*words)
    assert ran.code == 0 and "--skeleton" in ran.err
    draft = json.loads((tmp_path / "map.json").read_text())
    assert "pelvis" in draft and draft["left_knee"] == ""
    assert not (tmp_path / "out").exists()

    again = posegpt(*words)
    assert again.code == 1 and "exists already" in again.err
