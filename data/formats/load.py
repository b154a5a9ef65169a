"""One motion from one file, whatever its format."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from data.formats.asf import find_asf, read_amc, read_asf
from data.formats.bvh import Bvh
from data.formats.bvh_read import read_bvh
from data.formats.fbx import read_fbx
from data.formats.settings import ReadingSettings
from data.formats.smpl_npz import read_smpl_npz
from data.formats.smpl_tree import read_smpl_tree
from data.retargeting.mapping.mapper import write_draft_map
from data.retargeting.mapping.skeletons import named_skeleton
from data.retargeting.retarget import retarget
from data.rigs.gltf_read import GLTF_SUFFIXES
from data.rigs.reading.gltf_motion import read_gltf_motion
from data.rigs.reading.read_back import read_recording_counted
from models.errors import PoseGPTError
from models.files import missing_file
from models.motion import Motion

Reader = Callable[[Path, ReadingSettings], Motion]


def read_motion(path: Path | str, settings: ReadingSettings | None = None) -> Motion:
    """Read a motion by its file's extension.

    Args:
        path: a .bvh, .amc, .fbx, .glb, .gltf, .vrm or .vrma file; SMPL parameters in .npz, .pkl, .pt or
            .npy; joint positions in .npy.
        settings: what the file does not say of itself.

    Returns:
        the motion; its `notes` say what was found out or put right.

    Raises PoseGPTError if the file is missing, damaged, or of another kind.
    """
    path = Path(path)
    settings = settings or ReadingSettings()
    if not path.is_file():
        raise missing_file(path)

    # The extension decides; what a file really holds its reader finds out.
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise PoseGPTError(
            f"cannot read {path.name}: its extension is {path.suffix or 'missing'}",
            f"give one of {', '.join(suffix for suffix in READERS if suffix != '.c3d')}",
        )
    motion = reader(path, settings)
    return motion if settings.gender is None else replace(motion, gender=settings.gender)


def _read_npz(path: Path, settings: ReadingSettings) -> Motion:
    return read_smpl_npz(path, settings)


def _read_bvh(path: Path, settings: ReadingSettings) -> Motion:
    return _retarget(read_bvh(path, settings.fps_in), settings)


def _read_amc(path: Path, settings: ReadingSettings) -> Motion:
    # CMU keeps a subject's skeleton beside its clips, other sets one folder above.
    asf = read_asf(find_asf(path, path.parent.parent))
    bvh = read_amc(path, asf) if settings.fps_in is None else read_amc(path, asf, settings.fps_in)
    return retarget(bvh, settings=settings)


def _read_fbx(path: Path, settings: ReadingSettings) -> Motion:
    return _retarget(read_fbx(path, settings.fps_in), settings)


def _refuse_c3d(path: Path, settings: ReadingSettings) -> Motion:
    raise PoseGPTError(
        f"{path.name} holds markers, not joints",
        "solve it to a skeleton where it was recorded, as .bvh, or fit SMPL to it with MoSh++, as .npz",
    )


def _retarget(bvh: Bvh, settings: ReadingSettings) -> Motion:
    """A recording on its own skeleton; the draft of its map comes first, if the skeleton is not known."""
    if settings.write_skeleton is not None:
        write_draft_map(settings.write_skeleton, bvh)
    skeleton = named_skeleton(settings.skeleton) if settings.skeleton else None
    return read_recording_counted(bvh, skeleton, settings).motion


READERS: Mapping[str, Reader] = {
    ".npz": _read_npz,
    ".bvh": _read_bvh,
    ".amc": _read_amc,
    **dict.fromkeys((".npy", ".pkl", ".pickle", ".joblib", ".pt", ".pth"), read_smpl_tree),
    ".fbx": _read_fbx,
    **dict.fromkeys(GLTF_SUFFIXES, read_gltf_motion),
    ".c3d": _refuse_c3d,
}
"""Extension, lower case, to what reads such a file."""
