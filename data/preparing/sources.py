"""The files that there are to prepare, of every kind of source but BABEL. Imports no torch."""

from pathlib import Path

from data.preparing.collections.grab import action_of
from data.preparing.collections.humanact12 import clip_name, read_humanact12
from data.preparing.conversion import ConversionSettings, SourceFile, SourceKind, find_files
from data.preparing.settings import PrepareSettings
from models.body.skeleton import BodyType

KINDS: tuple[SourceKind, ...] = ("bvh", "amc", "amass", "files", "humanact12", "grab")
ANY_BODY = ("amass", "files", "grab")
"""Kinds whose files are of any body type; the others become SMPL."""


def find_sources(settings: PrepareSettings) -> list[SourceFile]:
    """The files of all sources. Raises PoseGPTError if a folder holds none."""
    sources: list[SourceFile] = []
    for kind in KINDS:
        place = getattr(settings, kind)
        if not place:
            continue
        if kind == "humanact12":
            sources += _clips_of_humanact12(place, settings.conversion(kind))
            continue
        types: tuple[BodyType, ...] = settings.body_types if kind in ANY_BODY else ("smpl",)
        conversion = settings.conversion(kind)
        for path in find_files(place, kind):
            name = path.relative_to(place).as_posix()
            action = action_of(path) if kind == "grab" else ""
            labels = (action,) if action else ()
            sources.append(SourceFile(place, name, kind, types, conversion, labels))
    return sources


def _clips_of_humanact12(path: Path, conversion: ConversionSettings) -> list[SourceFile]:
    """The clips of ACTOR's file, which says each one's action."""
    clips = []
    for number, action in enumerate(read_humanact12(path).labels):
        name = f"{clip_name(path, number)}{path.suffix}"
        clips.append(
            SourceFile(path.parent, name, "humanact12", ("smpl",), conversion, (action,), path.name, number)
        )
    return clips
