"""What the working processes do: read an uploaded motion, and write motions as a file."""

import io
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from data.formats.load import read_motion
from models.errors import PoseGPTError
from models.motion import Motion
from posegpt_cli.options.labels import file_stem
from posegpt_cli.output import NUMBER_SUFFIXES, RenderOptions, save_motion
from posegpt_cli.serving.settings import Limits

UPLOADS = (".npz", ".bvh", ".amc")
"""Motion that may be uploaded."""
COMPANIONS = (".asf",)
"""What may come along: the skeleton of an .amc."""
MEDIA_TYPES = {
    "mp4": "video/mp4",
    "gif": "image/gif",
    "png": "image/png",
    "glb": "model/gltf-binary",
    "html": "text/html",
    "npz": "application/octet-stream",
    "bvh": "text/plain",
    "csv": "text/csv",
    "json": "application/json",
    "zip": "application/zip",
}
OnProgress = Callable[[int, int], None]


def read_upload(
    contents: Sequence[tuple[str, bytes]], fps: float, limits: Limits, on_progress: OnProgress
) -> Motion:
    """The motion of an uploaded file, at a frame rate.

    Args:
        contents: name and bytes of the file, and of the skeleton of an .amc.
        fps: the generator's frame rate.
        limits: how long it may be.

    Raises PoseGPTError if it cannot be read; messages name the file as it was called where it came from.
    """
    motions = [name for name, _ in contents if _suffix(name) in UPLOADS]
    if len(motions) != 1:
        raise PoseGPTError(
            f"expected one motion file, got {len(motions)}",
            f"give one of {', '.join(UPLOADS)}, with an .amc also its .asf",
        )
    # Two folders deep: the reader of .amc looks for the skeleton one folder above.
    with tempfile.TemporaryDirectory(prefix="posegpt-upload-") as folder:
        inner = Path(folder) / "motion" / "clip"
        inner.mkdir(parents=True)
        for name, content in contents:
            if _suffix(name) not in (*UPLOADS, *COMPANIONS):
                raise PoseGPTError(f"cannot read {_shown(name)}", f"give one of {', '.join(UPLOADS)}")
            (inner / f"upload{_suffix(name)}").write_bytes(content)
        path = inner / f"upload{_suffix(motions[0])}"
        try:
            motion = read_motion(path)
        except PoseGPTError as error:
            name = _shown(motions[0])
            raise PoseGPTError(
                _without(error.message, inner, name), _without(error.hint, inner, name)
            ) from None

    name = _shown(motions[0])
    motion = replace(motion.resample(fps), name=PurePosixPath(name).stem)
    if motion.n_frames > limits.frames:
        raise PoseGPTError(
            f"{name} has {motion.n_frames} frames at {fps:g} per second, the page takes {limits.frames}",
            "cut it, or use posegpt forecast",
        )
    return replace(motion, notes=tuple(_without(note, inner, name) for note in motion.notes))


def write_files(
    motions: Sequence[Motion], suffix: str, options: RenderOptions, on_progress: OnProgress
) -> tuple[str, bytes]:
    """Name and content of a file with the motions; several of a format that holds one make a .zip.

    Raises PoseGPTError if they cannot be drawn or written.
    """
    stem = file_stem(motions[0].labels[0] if motions[0].labels else motions[0].name or "motion")
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in stem)[:60] or "motion"

    def tell(done: int, total: int, name: str) -> None:
        on_progress(done, total)

    with tempfile.TemporaryDirectory(prefix="posegpt-file-") as folder:
        if suffix not in NUMBER_SUFFIXES or len(motions) == 1:
            path = Path(folder) / f"{stem}{suffix}"
            save_motion(motions, path, options, tell)
            return path.name, path.read_bytes()

        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for k, motion in enumerate(motions):
                path = Path(folder) / f"{stem}_{k:02d}{suffix}"
                save_motion(motion, path, options)
                archive.write(path, path.name)
                on_progress(k + 1, len(motions))
        return f"{stem}.zip", packed.getvalue()


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _shown(name: str) -> str:
    """The last part of a name from elsewhere, short and printable."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[-80:] or "the file"


def _without(text: str, folder: Path, name: str) -> str:
    """A reader's message without our folders, in the file's own name."""
    for path in sorted(folder.glob("*"), reverse=True):
        text = text.replace(str(path), name).replace(path.name, name)
    for each in (folder, *folder.parents[:2]):
        text = text.replace(str(each), "the upload")
    return text
