"""Motion files of any system as a set to be evaluated."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.formats.load import read_motion
from data.formats.settings import ReadingSettings
from data.preparing.labels import default_labels, table_labeller
from models.errors import PoseGPTError
from models.evaluation.judge import Judge, JudgedSet, SetInfo, extract_twice
from models.evaluation.motions.clips import cut
from models.evaluation.motions.generated import OnProgress, no_progress
from models.motion import Motion

SUFFIXES = (".npz", ".bvh", ".amc")


@dataclass(frozen=True, eq=False)
class MotionFolder:
    """Motions out of a folder's files."""

    motions: list[Motion]
    fingerprint: str
    """Of the files' contents and labels."""


def read_folder(
    folder: Path,
    labels: Path | None = None,
    reading: ReadingSettings | None = None,
    needs_labels: bool = True,
    on_progress: OnProgress = no_progress,
) -> MotionFolder:
    """All motion files at or below a folder, with labels if they are needed.

    Labels are those of the table, or those in the file, or else the name of the folder the file lies in.

    Args:
        folder: searched with its subfolders.
        labels: table of labels.
        reading: what the files do not say of themselves.
        needs_labels: whether a file without a label is refused.
        on_progress: called after every file.

    Raises PoseGPTError if there is no file, one cannot be read, or one has no label: none is left out.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise PoseGPTError(
            f"no motion files ({', '.join(SUFFIXES)}) in {folder}",
            "generated=DIR, a folder of motion files",
            "generated",
        )
    labeller = table_labeller(labels) if labels else None
    digest = hashlib.sha256()
    # The same files read otherwise are other motion.
    given = reading.model_dump(mode="json", exclude_defaults=True) if reading else {}
    if given:
        digest.update(json.dumps(given, sort_keys=True).encode())
    motions = []
    for k, path in enumerate(files):
        motion = read_motion(path, reading)
        relative = path.relative_to(folder)
        names = labeller(relative) if labeller else motion.labels or default_labels(relative)
        if not names and needs_labels:
            raise PoseGPTError(
                f"{path} has no label", "labels=FILE, a CSV with the columns clip,labels", "labels"
            )
        motions.append(replace(motion, labels=tuple(names or ()), name=str(relative)))
        digest.update(f"{relative.as_posix()}\0{names}\0".encode() + path.read_bytes())
        on_progress(k + 1, len(files))
    return MotionFolder(motions, digest.hexdigest()[:16])


def folder_features(folder: MotionFolder, judges: Sequence[Judge], max_frames: int) -> JudgedSet:
    """Features of motion files, cut like real clips."""
    pieces = list[Motion]()
    clips = list[int]()
    for k, motion in enumerate(folder.motions):
        parts = cut(motion, max_frames)
        pieces += parts
        clips += [k] * len(parts)
    about = SetInfo(folder.fingerprint, max_frames, len(folder.motions), tuple(clips))
    return extract_twice(judges, [p.labels for p in pieces], lambda at: [pieces[k] for k in at], about)
