"""What the working processes do: read an uploaded motion, and write motions as a file."""

import io
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from data.formats.load import read_motion
from data.rigs.load import open_rig
from models.errors import PoseGPTError
from models.motion import Motion
from posegpt_cli.options.labels import file_stem
from posegpt_cli.output import NUMBER_SUFFIXES, RenderOptions, save_motion
from posegpt_cli.output.character_scene import character_actors, character_scene
from posegpt_cli.rendering.people import make_people
from posegpt_cli.rendering.scene import Animation
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
CHARACTERS = (".glb", ".gltf", ".vrm")
"""Characters of the user's own."""
OnProgress = Callable[[int, int], None]
Upload = tuple[str, bytes]
"""Name and content of a file."""


def read_upload(contents: Sequence[Upload], fps: float, limits: Limits, on_progress: OnProgress) -> Motion:
    """The motion of an uploaded file, at a frame rate.

    Args:
        contents: name and bytes of the file, and of the skeleton of an .amc.
        fps: the generator's frame rate.
        limits: how long it may be.

    Raises PoseGPTError if it cannot be read; messages name the file as it was called where it came from.
    """
    # One motion; whatever else comes along can only be the skeleton of an .amc.
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
        # The files get names of ours: those of the upload may be anything.
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

    # From here on it is called as it was where it came from.
    name = _shown(motions[0])
    motion = replace(motion.resample(fps), name=PurePosixPath(name).stem)
    if motion.n_frames > limits.frames:
        raise PoseGPTError(
            f"{name} has {motion.n_frames} frames at {fps:g} per second, the page takes {limits.frames}",
            "cut it, or use posegpt forecast",
        )
    return replace(motion, notes=tuple(_without(note, inner, name) for note in motion.notes))


def write_files(
    motions: Sequence[Motion],
    suffix: str,
    options: RenderOptions,
    character: Upload | None,
    on_progress: OnProgress,
) -> tuple[str, bytes]:
    """Name and content of a file with the motions; several of a format that holds one make a .zip.

    Args:
        motions: what is drawn or written.
        suffix: of the file.
        options: how it is drawn.
        character: the user's own, on which the motions are put.
        on_progress: called with what is done, and all.

    Raises PoseGPTError if they cannot be drawn or written.
    """
    if character is not None:
        with _rig_file(character) as path:
            return write_files(motions, suffix, options.replaced(rig=str(path)), None, on_progress)
    # The name goes into a header of the answer, so that only plain characters stay.
    stem = file_stem(motions[0].labels[0] if motions[0].labels else motions[0].name or "motion")
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in stem)[:60] or "motion"

    def tell(done: int, total: int, name: str) -> None:
        on_progress(done, total)

    with tempfile.TemporaryDirectory(prefix="posegpt-file-") as folder:
        if suffix not in NUMBER_SUFFIXES or len(motions) == 1:
            path = Path(folder) / f"{stem}{suffix}"
            save_motion(motions, path, options, tell)
            return path.name, path.read_bytes()

        # One file for each motion, numbered as `posegpt sample` does it.
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for k, motion in enumerate(motions):
                path = Path(folder) / f"{stem}_{k:02d}{suffix}"
                save_motion(motion, path, options)
                archive.write(path, path.name)
                on_progress(k + 1, len(motions))
        return f"{stem}.zip", packed.getvalue()


def read_character(character: Upload, on_progress: OnProgress) -> list[str]:
    """What there is to say of a character.

    Raises PoseGPTError if it cannot carry a person's motion.
    """
    with _rig_file(character) as path:
        fit = open_rig(path)
        return [f"{len(fit.moving)} of its {fit.rig.n_joints} joints follow"]


def put_on_stage(
    motions: Sequence[Motion], options: RenderOptions, character: Upload, on_progress: OnProgress
) -> tuple[bytes, list[dict[str, object]]]:
    """A .glb of motions side by side on a character, and what the page has to know of each."""
    with _rig_file(character) as path:
        rigged = options.replaced(rig=str(path))
        people = Animation(make_people(motions, rigged), rigged).people
        return character_scene(people), character_actors(people)


@contextmanager
def _rig_file(character: Upload) -> Iterator[Path]:
    """The file of a character while it is needed; errors name it as it was called."""
    name, content = character
    if _suffix(name) not in CHARACTERS:
        raise PoseGPTError(f"{_shown(name)} is no character", f"give one of {', '.join(CHARACTERS)}")
    with tempfile.TemporaryDirectory(prefix="posegpt-character-") as folder:
        path = Path(folder) / f"character{_suffix(name)}"
        path.write_bytes(content)
        try:
            yield path
        except PoseGPTError as error:
            shown = _shown(name)
            hint = _without(error.hint, Path(folder), shown)
            raise PoseGPTError(_without(error.message, Path(folder), shown), hint) from None


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _shown(name: str) -> str:
    """The last part of a name from elsewhere, short and printable."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[-80:] or "the file"


def _without(text: str, folder: Path, name: str) -> str:
    """A reader's message without our folders, in the file's own name."""
    # The longest paths first, because they begin with the shorter ones.
    for path in sorted(folder.glob("*"), reverse=True):
        text = text.replace(str(path), name).replace(path.name, name)
    for each in (folder, *folder.parents[:2]):
        text = text.replace(str(each), "the upload")
    return text
