"""Pictures to video files while the next picture is drawn: H.264 MP4, and GIF with its own palette.

ffmpeg is imageio-ffmpeg's, but fed here and not by imageio.v3 (2.38): that never looks at ffmpeg's exit
status, so that a video cut short by a full disk passes for whole, and prints ffmpeg's messages among ours. It
was no faster either: medians of eleven videos of 200 pictures of 720x720 were 89 pictures/s here, 78 there.
"""

import queue
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from models.errors import PoseGPTError
from models.files import atomic_path
from posegpt_cli.output.pictures import write_png
from posegpt_cli.rendering.scene import Picture

VIDEO_SUFFIXES = (".mp4", ".gif")

_WAITING = 4
"""Pictures that may wait for the encoder."""
_MP4 = [
    "-vf",
    "scale=out_color_matrix=bt709:out_range=tv",
    "-c:v",
    "libx264",
    "-preset",
    "superfast",
    "-bf",
    "0",
    "-crf",
    "23",
    "-pix_fmt",
    "yuv420p",
    "-color_range",
    "tv",
    "-colorspace",
    "bt709",
    "-color_primaries",
    "bt709",
    "-color_trc",
    "bt709",
    "-movflags",
    "+faststart",
    "-f",
    "mp4",
]
_GIF = ["-lavfi", "[0:v][1:v]paletteuse=dither=bayer:bayer_scale=4", "-loop", "0", "-f", "gif"]
GIF_FPS = 25.0
"""GIF counts in hundredths of a second, which 30 a second is not a whole number of."""


class VideoWriter:
    """Feeds pictures (H, W, 3) to the encoder; `write` returns while it works."""

    def __init__(self, pipe: IO[bytes], size: tuple[int, int]) -> None:
        self._pipe = pipe
        self._shape = (size[1], size[0], 3)
        # Two SimpleQueues instead of one bounded Queue: their get and put are single steps in C, so that a
        # signal between the lines of a Queue cannot leave a lock held that the other thread waits for.
        self._pictures: queue.SimpleQueue[Picture | None] = queue.SimpleQueue()
        self._free_places: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(_WAITING):
            self._free_places.put(None)
        self._failed = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def write(self, picture: Picture) -> None:
        """Add one picture. Raises BrokenPipeError if the encoder has stopped."""
        if picture.shape != self._shape or picture.dtype != np.uint8:
            raise ValueError(
                f"expected uint8 pictures of shape {self._shape}, got {picture.dtype} {picture.shape}"
            )
        if self._failed.is_set():
            raise BrokenPipeError("the encoder has stopped")
        self._free_places.get()
        self._pictures.put(picture)

    @property
    def has_failed(self) -> bool:
        """Whether the encoder stopped taking pictures."""
        return self._failed.is_set()

    def finish(self) -> None:
        """Wait until everything is with the encoder."""
        self._pictures.put(None)
        self._thread.join()

    def _feed(self) -> None:
        """The thread's work: drawing goes on while ffmpeg takes a picture from the pipe."""
        while (picture := self._pictures.get()) is not None:
            self._free_places.put(None)
            if self._failed.is_set():
                continue  # keep taking pictures, or `write` would wait forever
            try:
                self._pipe.write(np.ascontiguousarray(picture).data)
            except OSError:
                self._failed.set()
        try:
            self._pipe.close()
        except OSError:
            self._failed.set()


@contextmanager
def open_video(
    path: Path, size: tuple[int, int], fps: float, typical: Sequence[Picture] = (), licence: str = ""
) -> Iterator[VideoWriter]:
    """A video to write pictures into; the file appears under its name when all of them are in it.

    Args:
        path: ends in .mp4 (H.264, yuv420p, plays in browsers) or .gif.
        size: width and height, even numbers for .mp4.
        fps: pictures a second.
        typical: pictures whose colours a .gif is made of; it cannot know the later ones while it is written.
        licence: the comment in the metadata of an .mp4.

    Raises PoseGPTError if the size is odd, or the file cannot be written; nothing is left behind then.
    """
    if path.suffix.lower() == ".mp4":
        check_even(size)
    with (
        atomic_path(path, force=True) as partial,
        tempfile.TemporaryFile() as log,
        tempfile.TemporaryDirectory() as folder,
    ):
        # ffmpeg makes a palette of a whole video only: here it is made of a few pictures beforehand.
        if path.suffix.lower() == ".gif":
            output = ["-i", str(_write_palette(Path(folder), typical)), *_GIF]
        else:
            output = ["-metadata", f"comment={licence}", *_MP4] if licence else _MP4
        encoder = _start(partial, output, size, fps, log)
        assert encoder.stdin is not None
        writer = VideoWriter(encoder.stdin, size)
        try:
            yield writer
            writer.finish()
            if encoder.wait() != 0 or writer.has_failed:
                raise _failure(path, log)
        except BrokenPipeError:
            encoder.wait()
            raise _failure(path, log) from None
        finally:
            # Whatever went wrong, Ctrl-C included: no encoder and no thread outlives the block.
            if encoder.poll() is None:
                encoder.kill()
                encoder.wait()
            writer.finish()


def check_even(size: tuple[int, int]) -> None:
    """Raises PoseGPTError if width or height is odd: yuv420p halves both."""
    if size[0] % 2 or size[1] % 2:
        even = f"{size[0] + size[0] % 2}x{size[1] + size[1] % 2}"
        raise PoseGPTError(
            f"an MP4 needs an even width and height, got {size[0]}x{size[1]}", f"use --size {even}"
        )


def _write_palette(folder: Path, typical: Sequence[Picture]) -> Path:
    """The 256 colours that suit the pictures best, as the square that ffmpeg reads."""
    few = np.concatenate([picture[::2, ::2].reshape(-1, 3) for picture in typical])
    colors = Image.fromarray(few[None]).quantize(256, Image.Quantize.MEDIANCUT).getpalette() or []
    # Pictures of fewer colours repeat them.
    square = np.resize(np.array(colors, np.uint8).reshape(-1, 3), (16, 16, 3))
    write_png(folder / "palette.png", square)
    return folder / "palette.png"


def _start(
    partial: Path, output: Sequence[str], size: tuple[int, int], fps: float, log: IO[bytes]
) -> "subprocess.Popen[bytes]":
    from imageio_ffmpeg import get_ffmpeg_exe

    shape = f"{size[0]}x{size[1]}"
    command = [get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", shape, "-r", f"{fps:g}", "-i", "-"]
    return subprocess.Popen(
        [*command, *output, str(partial)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=log,
        # Ctrl-C is ours: training finishes its picture first.
        process_group=0,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
    )


def _failure(path: Path, log: IO[bytes]) -> PoseGPTError:
    # ffmpeg's last line is often what followed from the true reason.
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines() or ["the encoder stopped"]
    reason = lines[-1]
    for line in lines:
        if "No space left" in line:
            reason = line
    return PoseGPTError(
        f"cannot write {path}: {reason}", "check the disk's free space, or choose another folder"
    )
