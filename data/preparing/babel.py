"""BABEL and AMASS to training data as in the paper: windows of labelled segments, or of clips. No torch."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.actions import BABEL_CATEGORIES
from data.preparing.annotations import (
    AMASS_FOLDER,
    Piece,
    Record,
    amass_path,
    cut,
    find_babel,
    frame_labels,
    pieces,
    read_babel,
)
from data.preparing.convert import Task
from data.preparing.report import PrepareReport, Tally, most_frequent_first
from data.preparing.settings import PrepareSettings
from data.preparing.work import Progress, Work, results, silent
from data.store import StoreWriter
from models.body.skeleton import BodyType
from models.errors import PoseGPTError
from models.files import refuse_existing
from models.motion import Motion


@dataclass(frozen=True)
class BabelClip:
    """A file of AMASS and the records that annotate it."""

    task: Task
    uses: tuple[tuple[str, Record], ...]
    """(split, record)."""


@dataclass(frozen=True)
class BabelPlan:
    """What there is to prepare."""

    clips: tuple[BabelClip, ...]
    missing: tuple[str, ...]
    """Files that BABEL names and AMASS lacks."""
    faulty: tuple[tuple[str, str], ...]
    """(record, reason) of records that make no sense."""
    outside: Counter[str]
    """Categories that were not chosen -> labels that have them."""
    unlabelled: int
    """Labels without a category."""
    label_names: tuple[str, ...]
    body_types: tuple[BodyType, ...]
    stores: tuple[Path, ...]


def prepare_babel(settings: PrepareSettings, report: Progress = silent) -> PrepareReport:
    """Stores of every body type and split asked for; see `data.preparing.prepare.prepare`."""
    found = plan_babel(settings)
    work, recorded = Work(settings.work_folder, shared=bool(settings.shard)), settings.recorded()
    if not settings.shard:
        for store in found.stores:
            refuse_existing(store, settings.force or work.may_replace(store, recorded))
    with work:
        if settings.shard:
            made = _convert(settings, found, work, report, None)
        else:
            with ExitStack() as stack:  # a store appears when its writer leaves the stack
                made = _convert(settings, found, work, report, _Stores(settings, found, stack))
            work.remove()
    return replace(
        made,
        missing=found.missing,
        skipped=found.faulty + made.skipped,
        outside=most_frequent_first(found.outside),
        unlabelled=found.unlabelled,
    )


def _convert(
    settings: PrepareSettings, found: BabelPlan, work: Work, report: Progress, stores: "_Stores | None"
) -> PrepareReport:
    """Convert the files and, unless this is a shard, append them to the stores as they come."""
    skipped, converted = list[tuple[str, str]](), 0
    tasks = [clip.task for clip in found.clips]
    for k, result in results(work, tasks, settings.jobs, report, settings.in_shard, settings.merge):
        if not result.is_usable:
            skipped.append((tasks[k].source, result.reason))
            continue
        converted += 1
        if stores:
            for body_type in result.body_types:
                stores.add(found.clips[k], result.motion(body_type, settings.fps))
    if stores is None:
        return PrepareReport({}, {}, tuple(skipped), converted=converted)
    if converted == 0:
        files = [*skipped, *((source, "no such file") for source in found.missing)]
        first = f"; the first: {files[0][0]}: {files[0][1]}" if files else ""
        raise PoseGPTError(
            f"none of BABEL's {len(files)} files in {settings.amass} could be used{first}",
            "--amass takes the folder that holds smplx/ and smplh/",
        )
    return replace(stores.summary(), skipped=tuple(skipped), converted=converted)


def plan_babel(settings: PrepareSettings) -> BabelPlan:
    """Which files of AMASS are annotated how. Raises PoseGPTError where there is no BABEL or no AMASS."""
    assert settings.babel and settings.amass
    babel = find_babel(settings.babel)
    types = _body_types(settings)
    names = BABEL_CATEGORIES[: settings.n_actions]
    uses: dict[str, list[tuple[str, Record]]] = {}
    faulty: list[tuple[str, str]] = []
    categories: Counter[str] = Counter()
    unlabelled = 0
    for split in settings.splits:
        if settings.split is None and not (babel / f"{split}.json").is_file():
            continue
        records, wrong = read_babel(babel / f"{split}.json")
        faulty += wrong
        for record in records:
            for span in record.spans or ():
                categories.update(span.categories)
                unlabelled += not span.categories
            for folder in dict.fromkeys(AMASS_FOLDER[b] for b in types):
                body_type: BodyType = "smplx" if folder == "smplx" else "smplh"
                uses.setdefault(amass_path(record.feat_p, body_type), []).append((split, record))
    clips, missing = [], []
    for source, of_source in uses.items():
        if (settings.amass / source).is_file():
            clips.append(BabelClip(_task(settings, source, types), tuple(of_source)))
        else:
            missing.append(source)
    splits = [s for s in settings.splits if any(s == split for u in uses.values() for split, _ in u)]
    return BabelPlan(
        clips=tuple(clips),
        missing=tuple(missing),
        faulty=tuple(faulty),
        outside=Counter({name: n for name, n in categories.items() if name not in names}),
        unlabelled=unlabelled,
        label_names=names,
        body_types=types,
        stores=tuple(settings.store_folder(b, split) for b in types for split in splits),
    )


def _task(settings: PrepareSettings, source: str, types: Sequence[BodyType]) -> Task:
    assert settings.amass
    wanted = tuple(b for b in types if AMASS_FOLDER[b] == source.partition("/")[0])
    return Task(settings.amass, source, "amass", wanted, settings.conversion("amass"))


def _body_types(settings: PrepareSettings) -> tuple[BodyType, ...]:
    """Those asked for; where none was, those of which AMASS's folder is there."""
    assert settings.amass
    if not settings.amass.is_dir():
        raise PoseGPTError(f"no folder {settings.amass}", "--amass takes the folder of smplx/ and smplh/")
    there = tuple(b for b in settings.body_types if (settings.amass / AMASS_FOLDER[b]).is_dir())
    lacking = [b for b in settings.body_types if b not in there]
    if not there or (settings.type and lacking):
        folder = AMASS_FOLDER[lacking[0]]
        raise PoseGPTError(
            f"no folder {folder} in {settings.amass}, from which {lacking[0]} is made",
            f"put AMASS's {folder} release there, or choose another --type",
        )
    return there


class _Stores:
    """The stores of every body type and split, open for writing at once."""

    def __init__(self, settings: PrepareSettings, plan: BabelPlan, stack: ExitStack) -> None:
        self.settings = settings
        self.columns = {name: k for k, name in enumerate(plan.label_names)}
        self.short = 0
        splits = [s for s in settings.splits if settings.store_folder(plan.body_types[0], s) in plan.stores]
        both = [(b, split) for b in plan.body_types for split in splits]
        self.keys = {k: k[1] if len(plan.body_types) == 1 else " ".join(k) for k in both}
        self.tally = Tally(self.keys.values(), settings.fps)
        self.writers = {
            (body_type, split): stack.enter_context(
                StoreWriter(
                    settings.store_folder(body_type, split),
                    split=split,
                    body_type=body_type,
                    fps=settings.fps,
                    label_names=plan.label_names,
                    settings=settings.recorded(),
                    force=True,  # `prepare_babel` has asked
                    from_zero=True,
                    per_frame=settings.untrimmed,
                )
            )
            for body_type, split in both
        }

    def add(self, clip: BabelClip, motion: Motion) -> None:
        """Cut a clip by each of its records."""
        for split, record in clip.uses:
            found = pieces(record.spans, motion.n_frames, motion.fps, self.columns)
            if self.settings.untrimmed:
                self._add_whole(clip, record, split, found, motion)
                continue
            for number, piece in enumerate(found):
                windows = self._windows(piece.start, piece.stop)
                self.short += not windows
                for start, stop in windows:
                    name = f"{record.sid}_{number}_{start}"
                    self._put(clip, split, motion, (start, stop), piece.labels, name)

    def _add_whole(
        self, clip: BabelClip, record: Record, split: str, found: Sequence[Piece], motion: Motion
    ) -> None:
        """A clip with the labels of each frame, in windows where it is longer than one."""
        labels = frame_labels(found, motion.n_frames, self.columns)
        windows = self._windows(0, motion.n_frames)
        self.short += not windows
        for start, stop in windows:
            counts = labels[start:stop].sum(axis=0).tolist()
            shown = {name: counts[k] for name, k in self.columns.items() if counts[k]}
            self._put(clip, split, motion, (start, stop), shown, f"{record.sid}_{start}", labels[start:stop])

    def _windows(self, start: int, stop: int) -> list[tuple[int, int]]:
        s = self.settings
        return cut(start, stop, s.seq_len, s.overlap, s.min_seq_len)

    def _put(
        self,
        clip: BabelClip,
        split: str,
        motion: Motion,
        window: tuple[int, int],
        labels: Sequence[str] | Mapping[str, int],
        name: str,
        per_frame: NDArray[np.bool_] | None = None,
    ) -> None:
        both = motion.body_type, split
        source, (start, stop) = clip.task.source, window
        self.writers[both].add_window(motion, start, stop, tuple(labels), name, source, per_frame)
        self.tally.add(self.keys[both], source, labels, 1, stop - start)

    def summary(self) -> PrepareReport:
        folders = {key: self.writers[both].path for both, key in self.keys.items()}
        return PrepareReport(self.tally.splits, self.tally.by_label(), (), short=self.short, folders=folders)
