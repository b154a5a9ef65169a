"""Damaged and hostile motion files: BVH, ASF/AMC, AMASS; each is read, or refused with one clear error."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.formats.asf import read_amc, read_asf
from data.formats.bvh_read import read_bvh
from data.formats.load import read_motion
from data.formats.smpl_npz import read_smpl_npz, write_smpl_npz
from data.retargeting.mapping.mapper import map_joints
from data.synthetic import make_motion
from models.errors import PoseGPTError
from tests.data.formats.test_asf import random_frames, write_amc, write_asf
from tests.data.recordings import write_bandai
from tests.hostile.mutations import WORDS, damaged, fuzz, json_values, survives


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    motion = make_motion("walk", 4)
    write_bandai(folder / "walk.bvh", motion)
    write_asf(folder / "who.asf")
    write_amc(folder / "who_01.amc", random_frames(3))
    write_smpl_npz(folder / "walk.npz", motion)
    return folder


@fuzz
@given(data=st.data())
def test_bvh(folder, tmp_path, data):
    (tmp_path / "x.bvh").write_bytes(data.draw(damaged((folder / "walk.bvh").read_bytes())))
    survives(lambda: map_joints(read_bvh(tmp_path / "x.bvh")))


@fuzz
@given(data=st.data())
def test_bvh_to_motion(folder, tmp_path, data):
    """Only the header is damaged, so that more of what follows is reached."""
    header, _, rows = (folder / "walk.bvh").read_bytes().partition(b"Frame Time")
    (tmp_path / "x.bvh").write_bytes(data.draw(damaged(header)) + b"Frame Time" + rows)
    survives(lambda: read_motion(tmp_path / "x.bvh"))


@fuzz
@given(data=st.data())
def test_asf(folder, tmp_path, data):
    (tmp_path / "x.asf").write_bytes(data.draw(damaged((folder / "who.asf").read_bytes())))
    survives(lambda: read_amc(folder / "who_01.amc", read_asf(tmp_path / "x.asf")))


@fuzz
@given(data=st.data())
def test_amc(folder, tmp_path, data):
    asf = read_asf(folder / "who.asf")
    (tmp_path / "x.amc").write_bytes(data.draw(damaged((folder / "who_01.amc").read_bytes())))
    survives(lambda: read_amc(tmp_path / "x.amc", asf))


@fuzz
@given(data=st.data())
def test_amass(folder, tmp_path, data):
    (tmp_path / "x.npz").write_bytes(data.draw(damaged((folder / "walk.npz").read_bytes())))
    survives(lambda: read_smpl_npz(tmp_path / "x.npz"))


@fuzz
@given(
    shape=st.lists(st.integers(0, 200), max_size=3),
    dtype=st.sampled_from(("f2", "f8", "i4", "u1", "c8", "U3", "S2", "M8[s]", "?", "f8,i4")),
    rate=st.one_of(st.floats(), st.text(max_size=3), st.integers()),
    trans=st.sampled_from(((4, 3), (0, 3), (4, 2), (), (4,))),
)
def test_amass_with_other_arrays(tmp_path, shape, dtype, rate, trans):
    poses = np.zeros(shape if np.prod(shape) < 1e5 else [4, 156], dtype)
    np.savez(tmp_path / "x.npz", poses=poses, trans=np.zeros(trans), mocap_framerate=np.array(rate))
    survives(lambda: read_smpl_npz(tmp_path / "x.npz"))


@fuzz
@given(descr=json_values, shape=json_values)
def test_amass_with_other_headers(tmp_path, descr, shape):
    """The header of an array is a Python literal: whatever stands there is no array, or is read as one."""
    header = (
        repr({"descr": descr, "fortran_order": False, "shape": shape}).encode("latin1", "replace") + b"\n"
    )
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
        file.writestr("poses.npy", content)
        file.writestr("trans.npy", content)
    survives(lambda: read_smpl_npz(tmp_path / "x.npz"))


@pytest.mark.parametrize("content", [*WORDS, b"PK\x03\x04", b"\x93NUMPY", b"HIERARCHY\nMOTION", b"%PDF-1.7"])
@pytest.mark.parametrize("name", ["x.bvh", "x.npz"])
def test_files_of_something_else(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PoseGPTError):
        read_motion(tmp_path / name)


@pytest.mark.parametrize("name", ["x.bvh", "x.npz"])
def test_folders_and_devices(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(PoseGPTError):
        read_motion(tmp_path / name)
    link = tmp_path / f"zero{name}"
    link.symlink_to("/dev/null")
    with pytest.raises(PoseGPTError):
        read_motion(link)


def test_a_pipe_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "x.npz")
    survives(lambda: read_motion(tmp_path / "x.npz"))
    os.mkfifo(tmp_path / "x.bvh")
    survives(lambda: read_motion(tmp_path / "x.bvh"))


def test_a_zip_bomb_is_not_blown_up(tmp_path, monkeypatch):
    """A few kilobytes that would fill a lot of memory."""
    monkeypatch.setattr("models.npz.LARGEST_ARRAY", 2**20)
    np.savez_compressed(tmp_path / "x.npz", poses=np.zeros((2**15, 156)), trans=np.zeros((4, 3)))
    assert (tmp_path / "x.npz").stat().st_size < 2**21
    with pytest.raises(PoseGPTError, match="larger than"):
        read_motion(tmp_path / "x.npz")


def test_deep_bvh(tmp_path):
    deep = "JOINT a\n{\nOFFSET 0 0 0\nCHANNELS 3 Zrotation Xrotation Yrotation\n"
    n = 20_000
    text = "HIERARCHY\n" + deep.replace("JOINT", "ROOT", 1) + deep * n + "}\n" * (n + 1)
    (tmp_path / "x.bvh").write_text(text + "MOTION\nFrames: 1\nFrame Time: 0.1\n" + "0 " * (3 * n + 3))
    survives(lambda: read_motion(tmp_path / "x.bvh"))


def test_a_frame_count_beyond_all_memory(folder, tmp_path):
    text = (folder / "walk.bvh").read_text().replace("Frames:\t4", "Frames: 9999999999999")
    (tmp_path / "x.bvh").write_text(text)
    with pytest.raises(PoseGPTError, match="truncated"):
        read_motion(tmp_path / "x.bvh")
