"""Files: videos that browsers play, stills, numbers; errors that leave nothing behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from data.formats.load import read_motion
from data.synthetic import make_motion
from models.errors import PoseGPTError
from posegpt_cli.output import RenderOptions, save_motion
from posegpt_cli.output.video import open_video
from posegpt_cli.rendering.opengl.context import check_gl

SMALL = RenderOptions(size=(96, 80), renderer="skeleton")


def probe(path: Path) -> tuple[dict, int]:
    """What ffmpeg says of the first stream, and how many pictures it decodes."""
    frames = imageio_ffmpeg.read_frames(str(path))
    info = next(frames)
    return info, sum(1 for _ in frames)


def test_mp4_is_h264_yuv420p_at_30_with_every_frame(tmp_path: Path) -> None:
    done = []
    path = tmp_path / "new" / "walk.mp4"
    saved = save_motion(make_motion("walk", 64), path, SMALL, lambda *step: done.append(step))
    info, n_frames = probe(path)
    assert info["codec"] == "h264" and info["pix_fmt"].startswith("yuv420p")
    assert info["fps"] == 30 and info["size"] == (96, 80) and n_frames == 64
    assert (saved.renderer, saved.n_pictures, saved.warning) == ("skeleton", 64, "")
    assert done[-1] == (64, 64, "walk.mp4") and len(done) == 64
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # it can start before it is all there
    assert [file.name for file in path.parent.iterdir()] == ["walk.mp4"]


def test_mp4_keeps_colours(tmp_path: Path) -> None:
    path = tmp_path / "red.mp4"
    red = np.broadcast_to(np.uint8([200, 40, 60]), (32, 48, 3))
    with open_video(path, (48, 32), 30) as video:
        for _ in range(3):
            video.write(red)
    frames = imageio_ffmpeg.read_frames(str(path))
    next(frames)
    decoded = np.frombuffer(next(frames), np.uint8).reshape(32, 48, 3)
    frames.close()
    assert np.abs(decoded[16, 24].astype(int) - [200, 40, 60]).max() <= 6


def test_motions_are_resampled_to_the_video(tmp_path: Path) -> None:
    save_motion(make_motion("walk", 61, fps=60), tmp_path / "walk.mp4", SMALL)
    assert probe(tmp_path / "walk.mp4")[1] == 31


def test_one_frame_is_a_video_too(tmp_path: Path) -> None:
    save_motion(make_motion("walk", 1), tmp_path / "one.mp4", SMALL)
    assert probe(tmp_path / "one.mp4")[1] == 1


def test_gif_moves_and_loops(tmp_path: Path) -> None:
    save_motion(make_motion("walk", 30), tmp_path / "walk.gif", SMALL)
    with Image.open(tmp_path / "walk.gif") as gif:
        n_frames = getattr(gif, "n_frames", 1)
        assert gif.size == (96, 80) and 22 <= n_frames <= 26
        assert gif.info["loop"] == 0 and gif.info["duration"] == 40
        first = np.asarray(gif.convert("RGB"))
        gif.seek(12)
        assert (first != np.asarray(gif.convert("RGB"))).any()


def test_contact_sheet_has_eight_pictures(tmp_path: Path) -> None:
    saved = save_motion(make_motion("walk", 60), tmp_path / "walk.png", SMALL)
    with Image.open(tmp_path / "walk.png") as sheet:
        assert saved.n_pictures == 8 and sheet.size == (4 * 96 + 6, 2 * 80 + 2)
        cells = [np.asarray(sheet)[:80, 98 * k : 98 * k + 96] for k in range(4)]
    assert (cells[0] != cells[2]).any()


def test_trail_is_one_picture(tmp_path: Path) -> None:
    options = RenderOptions(size=(121, 81), renderer="skeleton", trail=3)
    assert save_motion(make_motion("walk", 60), tmp_path / "walk.png", options).n_pictures == 1
    with Image.open(tmp_path / "walk.png") as trail:
        assert trail.size == (121, 81)


def test_npz_is_read_back(tmp_path: Path) -> None:
    motion = make_motion("walk", 20)
    save_motion(motion, tmp_path / "walk.npz")
    assert np.abs(read_motion(tmp_path / "walk.npz").to_body_type("smpl").trans - motion.trans).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("walk.avi", SMALL, r"\.mp4, \.gif, \.png, \.glb, \.html, \.npz"),
        ("walk", SMALL, "no known extension"),
        ("walk.mp4", RenderOptions(size=(97, 80), renderer="skeleton"), "even width and height, got 97x80"),
    ],
)
def test_wrong_requests_leave_nothing(
    name: str, options: RenderOptions, message: str, tmp_path: Path
) -> None:
    with pytest.raises(PoseGPTError, match=message) as caught:
        save_motion(make_motion("walk", 5), tmp_path / name, options)
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".png"])
def test_a_target_that_cannot_be_written_is_an_error(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(PoseGPTError, match="cannot write"):
        save_motion(make_motion("walk", 5), tmp_path / "file" / f"walk{suffix}", SMALL)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_drawing_error_leaves_no_file_and_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_video(tmp_path / "walk.mp4", (48, 32), 30) as video:
        video.write(np.zeros((32, 48, 3), np.uint8))
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_full_disk_is_an_error(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from posegpt_cli.output import video

    real_start = video._start
    monkeypatch.setattr(video, "_start", lambda partial, *rest: real_start(Path("/dev/full"), *rest))
    with pytest.raises(PoseGPTError, match="No space left"):
        save_motion(make_motion("walk", 10), tmp_path / f"walk{suffix}", SMALL)
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_dies_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from posegpt_cli.output import video as video_module

    started = []
    real_start = video_module._start
    monkeypatch.setattr(
        video_module, "_start", lambda *arguments: started.append(real_start(*arguments)) or started[0]
    )
    with (
        pytest.raises(PoseGPTError, match="cannot write"),
        open_video(tmp_path / "walk.mp4", (480, 320), 30) as video,
    ):
        started[0].kill()
        for _ in range(50):
            video.write(np.zeros((320, 480, 3), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="hides libraries the way of Linux")
def test_without_libraries_both_platforms_are_tried(tmp_path: Path) -> None:
    for name in ("EGL", "GL", "OpenGL", "OSMesa", "GLESv2", "GLESv1_CM"):
        for suffix in ("", *(f".{k}" for k in range(10))):
            (tmp_path / f"lib{name}.so{suffix}").touch()
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    environment.pop("PYOPENGL_PLATFORM", None)
    code = "from posegpt_cli.rendering.opengl.context import check_gl; print(*check_gl().reasons, sep='\\n')"
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines() == [
        "egl: its library is not installed",
        "osmesa: its library is not installed",
    ]


def test_without_opengl_auto_draws_the_skeleton_and_says_how_to_mend_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYOPENGL_PLATFORM", "bogus")
    saved = save_motion(make_motion("walk", 3), tmp_path / "walk.mp4", RenderOptions(size=(64, 64)))
    assert saved.renderer == "skeleton" and probe(saved.path)[1] == 3
    assert saved.warning.startswith("no OpenGL") and "apt-get install -y libegl1 libgl1" in saved.warning


def test_without_opengl_insisting_on_the_mesh_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYOPENGL_PLATFORM", "bogus")
    options = RenderOptions(size=(64, 64), renderer="mesh")
    with pytest.raises(PoseGPTError, match="no OpenGL") as caught:
        save_motion(make_motion("walk", 3), tmp_path / "walk.mp4", options)
    assert "apt-get install -y libegl1 libgl1" in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(check_gl().platform is None, reason="there is no OpenGL here")
def test_asking_for_opengl_leaves_the_environment_alone() -> None:
    before = dict(os.environ)
    assert check_gl().platform in ("egl", "osmesa") and check_gl().renderer
    assert dict(os.environ) == before


def test_an_unknown_platform_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYOPENGL_PLATFORM", "bogus")
    status = check_gl()
    assert status.platform is None and "bogus" in status.reasons[0]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="there is no screen to act (xvfb)")
@pytest.mark.skipif(check_gl().platform is None, reason="there is no OpenGL here")
def test_a_hidden_window_draws_what_egl_draws(tmp_path: Path) -> None:
    """What Windows and macOS use, on a screen in memory."""
    code = """
import sys
from data.synthetic import make_motion
from posegpt_cli.output.save import save_motion
from posegpt_cli.rendering.options import RenderOptions
save_motion(make_motion("walk", 3), sys.argv[1], RenderOptions(size=(96, 64), renderer="mesh"))
"""
    pictures = []
    for name, before in (("window", ["xvfb-run", "-a"]), ("egl", [])):
        path = tmp_path / f"{name}.png"
        environment = os.environ | {"PYOPENGL_PLATFORM": name}
        subprocess.run([*before, sys.executable, "-c", code, str(path)], env=environment, check=True)
        pictures.append(np.asarray(Image.open(path)).astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 2


def test_importing_the_output_loads_no_gl_and_no_torch() -> None:
    heavy = "('OpenGL', 'pyrender', 'torch')"
    code = f"import sys, posegpt_cli.output; print([m for m in {heavy} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
