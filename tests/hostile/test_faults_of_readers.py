"""The smallest inputs that hung a reader or ended in an internal error: each is refused in a sentence."""

import io
import json
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from data.formats.asf import read_amc, read_asf
from data.formats.bvh_read import read_bvh
from data.formats.load import read_motion
from data.formats.safe_pickle import read_tree
from data.preparing.annotations import read_babel, segments
from data.preparing.labels import table_labeller
from models.body.body_pickle import read_pickle
from models.checkpoint import load_gpt, read_info
from models.errors import LONGEST, PoseGPTError
from models.evaluation.report import read_reports
from models.npz import read_arrays
from models.training.config import VQVAERun
from posegpt_cli.options.config_file import read_config_file
from tests.data.acclaim import random_frames, write_amc, write_asf
from tests.data.miniature import label, record, write_babel
from tests.hostile.commands import BVH

SECONDS = 2.0
"""A small file must not keep a reader longer; the quadratic ones took 6 to 22 s."""
BLANK = "\n" * 40_000


@pytest.fixture(scope="module")
def asf(tmp_path_factory) -> str:
    return write_asf(tmp_path_factory.mktemp("asf") / "a.asf").read_text()


def refused(read, path: Path, content: str | bytes) -> str:
    """The message with which a reader refuses a file, soon."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    begun = time.monotonic()
    with pytest.raises(PoseGPTError) as error:
        read(path)
    assert time.monotonic() - begun < SECONDS
    assert 0 < len(error.value.message) <= LONGEST and error.value.hint
    return error.value.message


@pytest.mark.parametrize(
    "text",
    [
        BVH.replace("MOTION", BLANK + "MOTIO"),
        BVH.replace("ROOT", BLANK + "RO"),
        BVH.replace("Frames", BLANK + "Fram"),
        "HIERARCHY" + " MOTION" * 40_000,
        BVH.replace("Hips", "x" * 100_000).replace("MOTION", ""),
        "HIERARCHY\nROOT a\n{\n" + "JOINT b\n{\n" * 40_000,
    ],
    ids=["blank lines", "before the root", "after MOTION", "many MOTION", "a long name", "deep"],
)
def test_bvh_is_read_in_linear_time(tmp_path, text):
    """Faults 8: 40,000 blank lines took 22 s."""
    refused(read_bvh, tmp_path / "a.bvh", text)


@pytest.mark.parametrize("value", ["1_0", "١", "1e", "0x1", "--1", "1,5"])
def test_bvh_values_that_only_python_reads(tmp_path, value):
    assert "values" in refused(read_bvh, tmp_path / "a.bvh", BVH.replace("\n0 0 0 0", f"\n{value} 0 0 0"))


@pytest.mark.parametrize("number", ["1" * 5000, "²", "9" * 18])
def test_bvh_numbers_that_are_none(tmp_path, number):
    """The campaign found an internal error: Python makes no number of more than 4,300 digits."""
    refused(read_bvh, tmp_path / "a.bvh", BVH.replace("CHANNELS 6", f"CHANNELS {number}"))
    refused(read_bvh, tmp_path / "a.bvh", BVH.replace("Frames: 1", f"Frames: {number}"))


@pytest.mark.parametrize("name", ["1" * 5000, "Spine" + "0" * 5000, "Left²"])
def test_joint_names_that_are_numbers(tmp_path, name):
    """The campaign found it in the numbers of joints' names."""
    refused(read_motion, tmp_path / "a.bvh", BVH.replace("Hips", name))


@pytest.mark.parametrize(
    "old, new",
    [
        (":root", BLANK + ":ro t"),
        (":bonedata", BLANK * 2 + ":x"),
        (":hierarchy", ":bonedata\n" + "begin " * 60_000 + "\n:h"),
    ],
    ids=["blank lines", "no bonedata", "begin without end"],
)
def test_asf_is_read_in_linear_time(tmp_path, asf, old, new):
    """Faults 8: 5.8 s."""
    refused(read_asf, tmp_path / "a.asf", asf.replace(old, new))


@pytest.mark.parametrize("word", ["name", "axis", "length", "direction"])
def test_asf_lines_without_a_value(tmp_path, asf, word):
    """Faults 11."""
    lines = []
    done = False
    for line in reversed(asf.splitlines()):
        if not done and line.split()[:1] == [word]:
            line = word
            done = True
        lines.append(line)
    assert done
    refused(read_asf, tmp_path / "a.asf", "\n".join(reversed(lines)))


def test_amc_is_read_in_linear_time(tmp_path):
    """Faults 8: 8.4 s."""
    skeleton = read_asf(write_asf(tmp_path / "a.asf"))
    path = write_amc(tmp_path / "a.amc", random_frames(2))
    path.write_text(path.read_text() + BLANK + BLANK)
    begun = time.monotonic()
    read_amc(path, skeleton)
    assert time.monotonic() - begun < SECONDS


def npz(header: bytes, name: str = "poses.npy") -> bytes:
    """An archive whose one array has this header."""
    import zipfile

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        padded = header + b" " * (117 - len(header)) + b"\n"
        archive.writestr(name, b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + b"\0" * 64)
    return content.getvalue()


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), ",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616, 3), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': ('a', 'b'), }",
        b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
        b"{'descr': '<M8[s]', 'fortran_order': False, 'shape': (2,), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (((((((((((",
        b"__import__('os').system('touch ran')",
        b"[" * 110,
    ],
)
def test_headers_of_arrays(tmp_path, header):
    """Faults 11: an unclosed bracket, a shape of 2^64, a shape of strings."""
    message = refused(lambda path: read_arrays(path, ["poses"], "hint"), tmp_path / "a.npz", npz(header))
    assert "a.npz cannot be read" in message


@pytest.mark.parametrize("start", ["Infinity", "-Infinity", "NaN", "1e400"])
def test_times_of_babel(tmp_path, start):
    """Faults 11: start_t: Infinity."""
    timed = record(1, "CMU/CMU/01/01_01_poses.npz", 3.0, frames=[label(["walk"], 0.0, 1.5)])
    write_babel(tmp_path, train=[timed])
    path = tmp_path / "train.json"
    path.write_text(path.read_text().replace('"start_t": 0.0', f'"start_t": {start}'))
    records, faulty = read_babel(path)
    for one in records:
        segments(one.spans, 90, 30.0, {"walk": 0})
    assert [reason for _, reason in faulty if "not a number" in reason]


@pytest.mark.parametrize(
    "text", ["seed: 2020-99-99", "seed: 0x_", "seed: " + "9" * 5000, "? {a: b}\n: 1", "[" * 1000, "a: *b"]
)
def test_yaml_that_cannot_be(tmp_path, text):
    """Faults 11."""
    refused(lambda path: read_config_file(path, VQVAERun), tmp_path / "a.yaml", text)


@pytest.mark.parametrize(
    "change",
    [
        {"mean": float("nan")}, {"mean": float("inf")}, {"half": -1.0}, {"half": float("nan")}, {"n": -3},
        {"n": 10**400},
    ],
)  # fmt: skip
def test_reports_with_numbers_that_cannot_be(tmp_path, change):
    """Faults 11: eval compare with negative or NaN numbers."""
    from tests.hostile.test_hostile_runs import REPORT

    document = REPORT.model_dump(mode="json")
    document["figures"]["generated"]["fid"] |= change
    refused(read_reports, tmp_path / "r.json", json.dumps(document))


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_only_regular_files_are_read(tmp_path, kind):
    """Faults 12: a FIFO as --labels waited forever; /dev/zero has no end."""
    path = tmp_path / "in.csv"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    readers = (
        table_labeller, read_reports, read_bvh, read_asf, lambda p: read_arrays(p, ["poses"], "hint"),
        lambda p: read_config_file(p, VQVAERun),
    )  # fmt: skip
    for read in readers:
        begun = time.monotonic()
        with pytest.raises(PoseGPTError):
            read(path)
        assert time.monotonic() - begun < SECONDS


def test_a_checkpoint_with_fewer_labels_than_its_network(trained, tmp_path):
    """Faults 11."""
    import shutil

    folder = shutil.copytree(trained["gpt"] / "checkpoints" / "last", tmp_path / "c")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"labels": config["labels"][:1]}))
    with pytest.raises(PoseGPTError, match=r"expected \d+ labels, got 1"):
        load_gpt(folder)


def test_messages_are_short_and_printable(tmp_path):
    """Faults 9 and 12: control characters, messages of any length."""
    (tmp_path / "config.json").write_text(json.dumps({"x" * 10_000: "\x1b[31m" * 1000}))
    with pytest.raises(PoseGPTError) as error:
        read_info(tmp_path)
    assert len(error.value.message) <= LONGEST
    assert error.value.message.isprintable()


@pytest.mark.parametrize("name", ["", " ", ".", "..", "../../x", "a/b", "/etc", "x" * 500])
def test_names_of_runs(name):
    """Faults 12."""
    with pytest.raises(PoseGPTError, match="name"):
        VQVAERun(name=name)


def test_zeros_stand_for_nothing(tmp_path):
    np.savez(tmp_path / "a.npz", poses=np.zeros((0, 3)))
    assert read_arrays(tmp_path / "a.npz", ["poses"], "hint")["poses"].shape == (0, 3)


@pytest.mark.parametrize(
    "text", ["\ud800", "a\x1b[31mb", "\u202egnp.exe", "\x00", "x" * 1000, "a\n\n b", "\u07bc"]
)
def test_any_text_makes_a_printable_message(text):
    """The campaign found half a character, which no terminal can show, and an unassigned one."""
    message = PoseGPTError(f"{text} is wrong", "hint").message
    assert message.isprintable() and len(message) <= LONGEST and message.endswith("is wrong")


def test_the_type_of_an_array_is_one_of_numbers_or_texts(tmp_path):
    """The campaign crashed numpy by the state of a type: half of it was missing."""
    content = pickle.dumps({"poses": np.zeros((2, 72), "f4")}, protocol=2)
    at = content.index(b"NNNJ") + 1
    (tmp_path / "a.pkl").write_bytes(content[:at] + b"K\x00" + content[at + 1 :])
    (tmp_path / "b.pkl").write_bytes(pickle.dumps({"poses": np.zeros(2, [("x", "f4")])}, protocol=2))
    (tmp_path / "c.pkl").write_bytes(pickle.dumps({"gender": np.array("male"), "n": np.int64(3)}))
    assert read_tree(tmp_path / "c.pkl") == {"gender": "male", "n": 3}
    for name in ("a.pkl", "b.pkl"):
        with pytest.raises(PoseGPTError, match="something else than numbers or texts") as caught:
            read_tree(tmp_path / name)
        assert "as .npz" in caught.value.hint  # not to download a body again
        with pytest.raises(PoseGPTError, match="something else than numbers or texts"):
            read_pickle(tmp_path / name, ["poses"])
