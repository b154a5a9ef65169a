"""Uploads and downloads: read and written by processes that can be ended."""

import io
import os
import tempfile
import time
import zipfile
from pathlib import Path

import pytest

from data.formats.load import read_motion
from data.synthetic import make_motion
from models.errors import PoseGPTError
from posegpt_cli.output import RenderOptions, save_motion
from posegpt_cli.serving.files import put_on_stage, read_character, read_upload, write_files
from posegpt_cli.serving.settings import Limits
from posegpt_cli.serving.workers import TooSlowError, Worker
from tests.data.acclaim import random_frames, write_amc, write_asf
from tests.data.rigging.box_man import box_man

WALK = {"segments": [{"actions": ["walk"], "frames": 8}]}


@pytest.fixture(scope="module")
def bvh(tmp_path_factory):
    path = tmp_path_factory.mktemp("upload") / "my walk.bvh"
    save_motion(make_motion("walk", 40), path)
    return path


@pytest.mark.slow
def test_an_uploaded_bvh_is_read_and_continued(client, bvh):
    past = client.post("/api/uploads", files={"file": (bvh.name, bvh.read_bytes())}).json()
    assert (past["name"], past["frames"], past["fps"]) == ("my walk", 40, 30.0)
    body = {"past": past["id"], "frames": 8, "n": 2}
    futures = client.post("/api/forecast", json=body).json()["motions"]
    assert [(future["frames"], future["past_frames"]) for future in futures] == [(48, 40)] * 2


@pytest.mark.slow
@pytest.mark.parametrize("format", ["npz", "bvh", "csv", "json", "glb", "html", "png", "gif", "mp4"])
def test_every_download_opens(client, tmp_path, format):
    [motion] = client.post("/api/generate", json=WALK).json()["motions"]
    answer = client.post(
        "/api/render", json={"motions": [motion["id"]], "format": format, "size": [128, 128]}
    )
    assert answer.status_code == 200
    assert f'filename="walk.{format}"' in answer.headers["content-disposition"]
    path = tmp_path / f"walk.{format}"
    path.write_bytes(answer.content)
    if format in ("npz", "bvh"):
        assert read_motion(path).n_frames == 8
    magic = {"glb": b"glTF", "gif": b"GIF8", "png": b"\x89PNG", "html": b"<!doctype html>"}
    if format in magic:
        assert answer.content.startswith(magic[format])
    if format == "mp4":
        assert answer.content[4:8] == b"ftyp"


@pytest.mark.slow
def test_several_motions_of_a_format_for_one_come_as_zip(client):
    motions = client.post("/api/generate", json={**WALK, "n": 3}).json()["motions"]
    body = {"motions": [motion["id"] for motion in motions], "format": "bvh"}
    answer = client.post("/api/render", json=body)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["walk_00.bvh", "walk_01.bvh", "walk_02.bvh"]


def wait_long(seconds, on_progress):
    on_progress(1, 2)
    time.sleep(seconds)
    return os.getpid()


def die(on_progress):
    os._exit(3)


def complain(on_progress):
    raise PoseGPTError("no", "try yes")


@pytest.mark.slow
def test_slow_work_is_ended_and_the_next_goes_on():
    import asyncio

    async def run():
        worker = Worker(max_waiting=4)
        try:
            # The process answers, and says how far it is.
            progress = []
            first = await worker.run(
                wait_long, 0.0, seconds=30, on_progress=lambda *done: progress.append(done)
            )
            assert progress == [(1, 2)]
            # Slow, dying and complaining work each leave the worker usable.
            with pytest.raises(TooSlowError, match=r"longer than 0\.3 s"):
                await worker.run(wait_long, 60.0, seconds=0.3)
            with pytest.raises(PoseGPTError, match="ended early"):
                await worker.run(die, seconds=30)
            with pytest.raises(PoseGPTError, match="no"):
                await worker.run(complain, seconds=30)
            # Whoever goes away frees the process.
            task = asyncio.ensure_future(worker.run(wait_long, 60.0, seconds=90))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert worker.n_asking == 0
            assert await worker.run(wait_long, 0.0, seconds=30) not in (first, os.getpid())
        finally:
            worker.stop()

    asyncio.run(run())


def read(*contents, limits=None):
    return read_upload(contents, 30.0, limits or Limits(), lambda done, total: None)


def test_uploads_are_read_at_the_generators_rate(bvh):
    motion = read((bvh.name, bvh.read_bytes()))
    assert (motion.n_frames, motion.fps, motion.name) == (40, 30.0, "my walk")
    assert motion.licence == ""


def test_an_amc_comes_with_its_asf(tmp_path):
    write_asf(tmp_path / "01.asf")
    write_amc(tmp_path / "01_01.amc", random_frames(5))
    amc = ("01_01.amc", (tmp_path / "01_01.amc").read_bytes())
    asf = ("01.asf", (tmp_path / "01.asf").read_bytes())
    assert read(amc, asf).n_frames >= 1
    # Without its skeleton an .amc means nothing.
    with pytest.raises(PoseGPTError, match=r"\.asf") as refused:
        read(amc)
    assert "posegpt-upload" not in str(refused.value)


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ([("a.bvh", b"nothing")], "a.bvh"),
        ([("../../secret/b.npz", b"PK nothing")], "b.npz"),
        ([("a.exe", b"MZ")], "one motion file"),
        ([("a.pkl", b"cos\nsystem\n(S'id'\ntR.")], "one motion file"),
        ([("a.bvh", b""), ("b.bvh", b"")], "got 2"),
        ([("a.bvh", b""), ("b.exe", b"")], "b.exe"),
        ([], "got 0"),
    ],
)
def test_what_cannot_be_read_is_refused_in_its_own_name(contents, said):
    with pytest.raises(PoseGPTError) as refused:
        read(*contents)
    assert said in str(refused.value)
    for path in ("posegpt-upload", "/tmp", "secret", "upload."):
        assert path not in str(refused.value)


def test_motion_is_put_on_a_character_of_ones_own(bvh, tmp_path):
    box_man().save(tmp_path / "box.gltf")
    character = ("my man.gltf", (tmp_path / "box.gltf").read_bytes())
    quiet = (lambda done, total: None,)
    [note] = read_character(character, *quiet)
    assert "joints follow" in note
    motion = read((bvh.name, bvh.read_bytes()))
    glb, actors = put_on_stage([motion, motion], RenderOptions(), character, *quiet)
    assert glb[:4] == b"glTF"
    assert [actor["animation"] for actor in actors] == [0, 1]
    name, content = write_files([motion], ".glb", RenderOptions(), character, *quiet)
    assert name == "my-walk.glb"
    assert len(content) < 400_000
    for wrong in (("my man.gltf", b"glTF nonsense"), ("../x.exe", b"MZ")):
        with pytest.raises(PoseGPTError) as refused:
            read_character(wrong, *quiet)
        assert "posegpt-character" not in str(refused.value)
        assert "/" not in str(refused.value).replace("/ ", "")


def test_long_uploads_are_refused(bvh):
    with pytest.raises(PoseGPTError, match="40 frames"):
        read((bvh.name, bvh.read_bytes()), limits=Limits(frames=39))


def test_files_are_written_and_nothing_is_left_behind(bvh):
    # Temporary folders are compared before and after.
    before = set(Path(tempfile.gettempdir()).glob("posegpt-*"))
    motion = read((bvh.name, bvh.read_bytes()))
    name, content = write_files([motion], ".bvh", RenderOptions(), None, lambda done, total: None)
    assert name == "my-walk.bvh"
    assert content.startswith(b"HIERARCHY")
    name, content = write_files([motion] * 2, ".npz", RenderOptions(), None, lambda done, total: None)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["my-walk_00.npz", "my-walk_01.npz"]
    with pytest.raises(PoseGPTError):
        read(("broken.npz", b"PK nothing"))
    assert set(Path(tempfile.gettempdir()).glob("posegpt-*")) <= before
