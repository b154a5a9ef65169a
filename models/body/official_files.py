"""Where the official model files are, in any layout of their downloads. Imports no torch.

smplx.create's folders, SMPL's and SMPLify's archives, MANO's SMPL-H, AMASS's smplh.tar.xz, SMPL-X with and
without a locked head: all are folders of files whose names, or whose folders' names, say body and gender. A
path to a single file is taken for what it holds.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.body.body_pickle import numbers, read_pickle
from models.body.skeleton import BODY_TYPES, BodyType, n_joints
from models.errors import PoseGPTError
from models.npz import read_arrays

GENDERS = ("neutral", "female", "male")

_SUFFIXES = (".npz", ".pkl")
_DEEPEST = 5
"""Folders within one another: SMPL_python_v.1.1.0/smpl/models is three deep."""
_MOST_FILES = 20_000
"""Files that are checked: a folder of bodies has fewer, a home folder more."""
_SMPLX_NAME = re.compile(r"(smpl|smplh|smplx)_(neutral|female|male)", re.IGNORECASE)
"""SMPL_NEUTRAL.pkl, SMPLH_male.pkl, SMPLX_FEMALE.npz."""
_SMPL_NAME = re.compile(r"basicmodel_(neutral|f|m)_lbs_.*", re.IGNORECASE)
"""basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl, basicModel_f_lbs_10_207_0_v1.0.0.pkl."""
_LETTERS = {"f": "female", "m": "male"}
_SITES: dict[BodyType, str] = {
    "smpl": "SMPL_NEUTRAL.pkl or basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl from https://smpl.is.tue.mpg.de",
    "smplh": "SMPLH_male.pkl of mano_v1_2.zip or neutral/model.npz of smplh.tar.xz from "
    "https://mano.is.tue.mpg.de",
    "smplx": "SMPLX_NEUTRAL.npz of models_smplx_v1_1.zip from https://smpl-x.is.tue.mpg.de",
}


@dataclass(frozen=True)
class OfficialFile:
    """A model file and whose body it is."""

    path: Path
    body_type: BodyType
    gender: str


def official_files(place: Path) -> list[OfficialFile]:
    """The model files at or below a folder, the shallowest first; of a path to a file, that one.

    Raises PoseGPTError if there is no such folder or file, or a single file is no model.
    """
    if place.is_file():
        return [_single_file(place)]
    if not place.is_dir():
        raise PoseGPTError(
            f"there is no folder {place} with body models", _where("smpl"), parameter="model_dir"
        )
    found = []
    for path in _model_files(place):
        official = _by_name(path)
        if official:
            found.append(official)
    # Of two files for one body, .npz is read sooner, and smplx.create's name is the usual one.
    return sorted(found, key=lambda file: (len(file.path.parts), file.path.suffix, file.path))


def find_official(body_type: BodyType, place: Path, gender: str | None = None) -> OfficialFile:
    """The file for a body.

    Args:
        body_type: smpl, smplh or smplx.
        place: folder or file.
        gender: which one; None: neutral if it is there (SMPL-H's .pkl files have none), else another.

    Raises PoseGPTError if there is none, with what is there instead.
    """
    if gender is not None and gender not in GENDERS:
        raise PoseGPTError(f"there is no gender {gender!r}", f"use {', '.join(GENDERS)}", parameter="gender")

    # Genders in the order of preference, files in the order in which they were found.
    files = official_files(place)
    of_type = [file for file in files if file.body_type == body_type]
    for wanted in GENDERS if gender is None else (gender,):
        for file in of_type:
            if file.gender == wanted:
                return file
    there = ", ".join(dict.fromkeys(f"{file.gender} {file.body_type}" for file in files)) or "no model"
    what = body_type if gender is None else f"{gender} {body_type}"
    raise PoseGPTError(
        f"no {what} model under {place} (there is {there})", _where(body_type), parameter="model_dir"
    )


def body_type_in(place: Path, wanted: BodyType) -> BodyType:
    """The body type to draw with the files at a place: the wanted one, or the only one that is there.

    Raises PoseGPTError if there is none, or several others.
    """
    there = list(dict.fromkeys(file.body_type for file in official_files(place)))
    if wanted in there:
        return wanted
    if len(there) == 1:
        return there[0]
    if there:
        raise PoseGPTError(
            f"no {wanted} model under {place}, but {' and '.join(there)}",
            f"choose one, e.g. body_type={there[0]}",
            parameter="body_type",
        )
    raise PoseGPTError(f"no body model under {place}", _where(wanted), parameter="model_dir")


def _model_files(place: Path) -> Iterator[Path]:
    """Files that may be models, folder by folder."""
    # Breadth first and bounded: a home folder given by mistake must not be searched for minutes.
    n_seen = 0
    waiting = [(place, 0)]
    while waiting:
        folder, depth = waiting.pop(0)
        try:
            entries = sorted(folder.iterdir())
        except OSError:  # not ours to read
            continue
        for entry in entries:
            n_seen += 1
            if n_seen > _MOST_FILES:
                return
            if entry.suffix.lower() in _SUFFIXES and entry.is_file():
                yield entry
            elif depth < _DEEPEST and entry.is_dir() and not entry.name.startswith("."):
                waiting.append((entry, depth + 1))


def _by_name(path: Path) -> OfficialFile | None:
    """What names say of a file; None if they do not say that it is a body."""
    # smplx's own names, then those of the downloads, then folders named after the gender.
    match = _SMPLX_NAME.fullmatch(path.stem)
    if match:
        body_type = next(known for known in BODY_TYPES if known == match[1].lower())
        return OfficialFile(path, body_type, match[2].lower())
    match = _SMPL_NAME.fullmatch(path.stem)
    if match:
        letter = match[1].lower()
        return OfficialFile(path, "smpl", _LETTERS.get(letter, letter))
    # AMASS's and the locked head's: the folder is the gender, the one above the body, or nothing.
    gender = path.parent.name.lower()
    if path.stem.lower() == "model" and gender in GENDERS:
        above = path.parent.parent.name.lower()
        for known in BODY_TYPES:
            if above == known:
                return OfficialFile(path, known, gender)
        by_content = _by_content(path)
        return OfficialFile(path, by_content, gender) if by_content else None
    return None


def _single_file(path: Path) -> OfficialFile:
    named = _by_name(path)
    if named:
        return named
    body_type = _by_content(path)
    if body_type is None:
        raise PoseGPTError(f"{path} is no model of a body", _where("smpl"), parameter="model_dir")
    gender = next((gender for gender in ("female", "male") if gender in path.stem.lower()), "neutral")
    return OfficialFile(path, body_type, gender)


def _by_content(path: Path) -> BodyType | None:
    """The body with as many joints as a file's skinning weights; None if it is no model."""
    # Only the skinning weights are read: their width is the number of joints.
    try:
        if path.suffix.lower() == ".pkl":
            weights = numbers(read_pickle(path, ("weights",))["weights"])
        else:
            weights = read_arrays(path, ("weights",), "download the file again")["weights"]
    except (PoseGPTError, KeyError, ValueError, TypeError):
        return None
    if weights.ndim != 2:
        return None
    for body_type in BODY_TYPES:
        if weights.shape[1] == n_joints(body_type):
            return body_type
    return None


def _where(body_type: BodyType) -> str:
    """What to do if there is no usable model file."""
    return f"put {_SITES[body_type]} there, or leave out `model_dir` for the default body"
