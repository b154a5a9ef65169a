"""Settings of `posegpt prepare`: what to read, how, and where to write. Imports no torch."""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, model_validator

from data.formats.asf import AMC_FPS
from data.formats.settings import ReadingSettings
from data.preparing.conversion import ConversionSettings, SourceKind
from data.store import SPLITS
from models.body.skeleton import BODY_TYPES, BodyType
from models.config import Config, Positive, Seed, Share

SOURCES = ("babel", "amass", "bvh", "amc", "files", "humanact12", "grab")
_LATER_SOURCES = ("files", "humanact12", "grab")
_DECISIVE = ("type", "fps", "skeleton", "up", "scale", "t_pose_frame", "fps_in", "amc_fps")
"""Settings that decide what a file is converted to."""


SOURCES_KEY = "sources"
"""Beside the settings a manifest says what the files were: by this the same command knows its own stores."""
WORK_PREFIX = ".posegpt-work-"
"""Names of work folders begin with it."""


class PrepareSettings(Config):
    """`posegpt prepare`."""

    out: Path
    """Folder for the prepared data."""
    babel: Path | None = None
    """Folder of BABEL's release (train.json, val.json, test.json); needs amass."""
    amass: Path | None = None
    """Folder of AMASS (smplx/..., smplh/... for BABEL; alone: any AMASS .npz below it)."""
    bvh: Path | None = None
    """Folder of .bvh files, searched with its subfolders."""
    amc: Path | None = None
    """Folder of ASF/AMC files (CMU's or HDM05's layout), searched with its subfolders."""
    files: Path | None = None
    """Folder of motion files of any format (.fbx, .pkl, .pt, .npy, .npz, .bvh, .amc), with its subfolders."""
    humanact12: Path | None = None
    """HumanAct12 as ACTOR has it: humanact12poses.pkl."""
    grab: Path | None = None
    """Folder of GRAB, from its own site or out of AMASS."""
    type: str | None = None
    """Body types, of smplx, smplh and smpl, separated by commas; none: all that the files can give."""
    split: str | None = None
    """BABEL's splits to prepare, of train, val and test, separated by commas; none: all."""
    n_actions: Literal[60, 120] = 60
    """BABEL's categories to keep as labels: the first 60 or 120."""
    untrimmed: bool = False
    """BABEL: whole clips with labels per frame, instead of one segment per label."""
    seq_len: Positive = 64
    """BABEL: frames of a window. Elsewhere clips stay whole, and windows of this length are counted."""
    fps: Annotated[float, Field(gt=0, le=1000)] = 30.0
    """Frames per second of the prepared motion."""
    overlap: Annotated[int, Field(ge=0)] = 0
    """BABEL: frames that a window shares with the one before it."""
    min_seq_len: Positive = 16
    """Shortest remainder that is kept as a window."""
    labels: Path | None = None
    """Labels of clips: CSV (columns clip,labels; several separated by | or ;) or JSON {clip: [labels]}."""
    texts: Path | None = None
    """Folder of texts, NAME.txt for each clip and one sentence per line, as HumanML3D's. A column `text` of
    the CSV of labels, and BABEL's own labels, are kept without it."""
    label_pattern: str | None = None
    """Regular expression over file names with a group `action` and, optionally, `style`."""
    val_share: Share = 0.1
    """Share of each label's clips for validation."""
    test_share: Share = 0.1
    """Share of each label's clips for testing."""
    actor_pattern: str | None = None
    """Split by actor: regular expression over a clip's path with a group `actor`."""
    split_list: Path | None = None
    """Split by a list: CSV (columns clip,split) or JSON {clip: split}; others are left out."""
    seed: Seed = 0
    """Seed of the split."""
    skeleton: str | None = None
    """BVH: a known skeleton by name, or a JSON file {SMPL joint: joint of the file}; none finds out."""
    up: Literal["auto", "y", "z"] = "auto"
    """BVH: axis that points up; auto: the one along which the rest pose stands."""
    scale: Annotated[float, Field(gt=0)] | None = None
    """BVH and AMC: metres per unit (AMC: after its own unit); none: legs as long as SMPL's."""
    t_pose_frame: Annotated[int, Field(ge=0)] | None = None
    """BVH: frame (from 0) that is a T-pose and stands for the rest pose; the motion begins after it."""
    fps_in: Annotated[float, Field(gt=0)] | None = None
    """Frame rate of all recordings, if the files have none or a wrong one."""
    amc_fps: Annotated[float, Field(gt=0)] = AMC_FPS
    """AMC: frames per second of the recordings, which the files do not say."""
    jobs: Positive = 1
    """Processes that read files."""
    shard: str | None = None
    """Only convert this share of the files, e.g. 3/16; merge joins the shards."""
    merge: bool = False
    """Write the data set from files that shards have converted."""
    force: bool = False
    """Replace prepared data of an earlier run."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not any(getattr(self, source) for source in SOURCES):
            raise ValueError(f"{', '.join(SOURCES[:-1])} or {SOURCES[-1]} is missing: what to read")
        if self.babel and not self.amass:
            raise ValueError("babel needs amass: the motions that it annotates")
        others = [source for source in SOURCES[2:] if getattr(self, source)]
        if self.babel and others:
            raise ValueError(f"babel is prepared by itself: leave out {' and '.join(others)}")
        if self.overlap >= self.seq_len:
            raise ValueError(f"overlap ({self.overlap}) must be less than seq_len ({self.seq_len})")
        _words(self.type, BODY_TYPES, "type")
        _words(self.split, SPLITS, "split")
        if self.shard is not None and not self._shard_numbers():
            raise ValueError(f"shard must be like 3/16, got {self.shard}")
        if self.shard and self.merge:
            raise ValueError("shard and merge are two steps: merge after all shards")
        return self

    @property
    def body_types(self) -> tuple[BodyType, ...]:
        """Those asked for; all if none was."""
        return cast(tuple[BodyType, ...], _words(self.type, BODY_TYPES, "type"))

    @property
    def splits(self) -> tuple[str, ...]:
        """BABEL's splits to prepare."""
        return _words(self.split, SPLITS, "split")

    @property
    def reading(self) -> ReadingSettings:
        return ReadingSettings(
            up=self.up, scale=self.scale, t_pose_frame=self.t_pose_frame, fps_in=self.fps_in
        )

    def conversion(self, kind: SourceKind) -> ConversionSettings:
        """How files of a kind become prepared motion."""
        # Body parameters have no skeleton to find, and no T-pose. BABEL's are AMASS's own, which has Z up.
        up = "z" if self.babel and self.up == "auto" else self.up
        reading = ReadingSettings(up=up, scale=self.scale, fps_in=self.fps_in)
        if kind in ("bvh", "amc"):
            reading = self.reading
        elif kind == "files":
            reading = self.reading.replaced(skeleton=self.skeleton)
        return ConversionSettings(
            fps=self.fps,
            reading=reading,
            skeleton=self.skeleton if kind in ("bvh", "files") else None,
            amc_fps=self.amc_fps,
            hashes=not self.babel,
        )

    @property
    def work_folder(self) -> Path:
        """Where converted files wait; the same for all runs that convert the same files alike."""
        # Labels and splits can change between two runs: the converted files stay valid.
        # Sources that were not there in earlier versions count only if given, so that old folders are found.
        names = [name for name in SOURCES if getattr(self, name) or name not in _LATER_SOURCES]
        text = repr([(name, str(getattr(self, name))) for name in (*names, *_DECISIVE)])
        return self.out / f"{WORK_PREFIX}{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"

    def in_shard(self, index: int) -> bool:
        """Whether file number `index` belongs to this run."""
        numbers = self._shard_numbers()
        return not numbers or index % numbers[1] == numbers[0] - 1

    def store_folder(self, body_type: BodyType, split: str) -> Path:
        """Where a store goes; for BABEL the paper's names."""
        if not self.babel:
            return self.out / body_type / "mocap" / split
        # The paper's code looks for these names.
        kind = "babel_untrimmed" if self.untrimmed else "babel_trimmed"
        cut = f"seqLen{self.seq_len}_fps{self.fps:g}_overlap{self.overlap}_minSeqLen{self.min_seq_len}"
        return self.out / body_type / kind / f"{split}_{self.n_actions}" / cut

    def recorded(self) -> dict[str, Any]:
        """What a manifest keeps: what decides the content, not where it lies or how fast it was read."""
        # Where things lie is nobody's business: of paths, the last part is kept.
        given = self.model_dump(
            mode="json", exclude_defaults=True, exclude={"out", "jobs", "force", "shard", "merge"}
        )
        for key in (*SOURCES, "labels", "texts", "split_list", "skeleton"):
            if key in given:
                given[key] = Path(given[key]).name
        kind = next(source for source in SOURCES if getattr(self, source))
        always = {"kind": kind, "fps": self.fps, "seed": self.seed, "seq_len": self.seq_len}
        return always | given

    def _shard_numbers(self) -> tuple[int, int] | None:
        """(3, 16) of 3/16; None if it is not such a share."""
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", self.shard or "")
        if match is None:
            return None
        number, of = int(match[1]), int(match[2])
        return (number, of) if 1 <= number <= of else None


def _words(text: str | None, known: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Words separated by commas, in the order of `known`."""
    if text is None:
        return known
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    wrong = [word for word in words if word not in known]
    if wrong or not words:
        raise ValueError(f"{name} must be of {', '.join(known)}, got {wrong[0] if wrong else 'nothing'}")
    return tuple(word for word in known if word in words)
