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
    LabelledSegment,
    Record,
    amass_path,
    cut_windows,
    find_babel,
    frame_labels,
    read_babel,
    segments,
)
from data.preparing.collections.amass_layout import AmassLayout, Release
from data.preparing.conversion import SourceFile
from data.preparing.finished import digest_of, finished_report, recorded_settings
from data.preparing.report import PrepareReport, Tally, most_frequent_first
from data.preparing.settings import PrepareSettings
from data.preparing.work_folder import OnProgress, WorkFolder, convert_files, finished_files
from data.store import StoreHeader
from data.store_files import MANIFEST, STORE_FILES
from data.store_writer import ClipWindow, StoreWriter
from models.body.skeleton import BodyType
from models.errors import PoseGPTError
from models.files import refuse_existing
from models.motion import Motion
from models.ownership import refuse_foreign

Window = tuple[int, int]
"""First frame, and the frame after the last."""


@dataclass(frozen=True)
class BabelClip:
    """A file of AMASS and the records that annotate it."""

    source: SourceFile
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
    splits: tuple[str, ...]
    stores: tuple[Path, ...]


def prepare_babel(settings: PrepareSettings, on_progress: OnProgress | None = None) -> PrepareReport:
    """Stores of every body type and split asked for; see `data.preparing.prepare.prepare`."""
    plan = plan_babel(settings)
    digest = digest_of((clip.source, clip.uses) for clip in plan.clips)
    report = finished_report(settings, plan.stores, digest)
    if report is None:
        report = _prepared(settings, plan, digest, on_progress)
    return replace(
        report,
        missing=plan.missing,
        skipped=plan.faulty + report.skipped,
        outside=most_frequent_first(plan.outside),
        unlabelled=plan.unlabelled,
    )


def _prepared(
    settings: PrepareSettings, plan: BabelPlan, digest: str, on_progress: OnProgress | None
) -> PrepareReport:
    """Convert the files and write the stores, or convert a shard."""
    work = WorkFolder(settings.work_folder, shared=bool(settings.shard))
    if settings.shard:
        with work:
            return _convert(settings, plan, work, on_progress, None)

    # Asked before any work is done. Stores of the same run, interrupted, may be written again.
    recorded = settings.recorded()
    for store in plan.stores:
        refuse_existing(store, settings.force or work.may_replace(store, recorded))
        refuse_foreign(store, MANIFEST, STORE_FILES, "data set")
    with work:
        # A store appears under its name when its writer leaves the stack.
        with ExitStack() as stack:
            stores = _BabelStores(settings, plan, stack, digest)
            report = _convert(settings, plan, work, on_progress, stores)
        work.remove()
    return report


def _convert(
    settings: PrepareSettings,
    plan: BabelPlan,
    work: WorkFolder,
    on_progress: OnProgress | None,
    stores: "_BabelStores | None",
) -> PrepareReport:
    """Convert the files and, unless this is a shard, append them to the stores as they come."""
    clips = [clip for k, clip in enumerate(plan.clips) if settings.in_shard(k)]
    sources = [clip.source for clip in clips]
    if settings.merge:
        results = finished_files(work, sources, on_progress)
    else:
        results = convert_files(work, sources, settings.jobs, on_progress)

    # Results come in the order of the clips, one at a time, so that memory does not grow with the data.
    skipped: list[tuple[str, str]] = []
    notes: list[tuple[str, str]] = []
    converted = 0
    for clip, result in zip(clips, results, strict=True):
        if not result.is_usable:
            skipped.append((clip.source.name, result.reason))
            continue
        converted += 1
        notes += [(clip.source.name, note) for note in result.notes]
        if stores:
            for body_type in result.body_types:
                stores.add(clip, result.motion(body_type, settings.fps))

    # The stores of a shard's files are written by the run that merges all shards.
    if stores is None:
        return PrepareReport({}, {}, tuple(skipped), converted=converted, notes=tuple(notes))
    if converted == 0:
        files = [*plan.faulty, *skipped, *((source, "no such file") for source in plan.missing)]
        first = f"; the first: {files[0][0]}: {files[0][1]}" if files else ""
        raise PoseGPTError(
            f"none of BABEL's {len(files)} files in {settings.amass} could be used{first}",
            "unpack AMASS's archives to smplh/ and smplx/ below amass, e.g. smplh/ACCAD/...",
            parameter="amass",
        )
    return replace(stores.summary(), skipped=tuple(skipped), converted=converted, notes=tuple(notes))


def plan_babel(settings: PrepareSettings) -> BabelPlan:
    """Which files of AMASS are annotated how. Raises PoseGPTError if there is no BABEL or no AMASS."""
    assert settings.babel and settings.amass

    # Which bodies can be made depends on which releases of AMASS are unpacked.
    babel = find_babel(settings.babel)
    layout = AmassLayout(settings.amass)
    types = _body_types(settings, layout)
    names = BABEL_CATEGORIES[: settings.n_actions]

    records, faulty = _read_splits(settings, babel)
    # A file of AMASS may be annotated in several records, even of several splits: it is read once.
    categories: Counter[str] = Counter()
    unlabelled = 0
    uses: dict[str, list[tuple[str, Record]]] = {}
    releases: dict[str, Release] = {}
    missing: dict[str, None] = {}
    for split, record in records:
        for span in record.spans or ():
            categories.update(span.categories)
            unlabelled += not span.categories
        for release in dict.fromkeys(map(_release, types)):
            name = layout.find(record.feat_p, release)
            if name is None:
                missing[amass_path(record.feat_p, release)] = None
                continue
            releases[name] = release
            uses.setdefault(name, []).append((split, record))

    # One clip per file, with all of its records.
    clips = []
    for name, uses_of_file in uses.items():
        source = _source(settings, name, releases[name], types)
        clips.append(BabelClip(source, tuple(uses_of_file)))
    # A split without any record gets no store.
    annotated = {split for split, _ in records}
    splits = tuple(split for split in settings.splits if split in annotated)
    return BabelPlan(
        clips=tuple(clips),
        missing=tuple(missing),
        faulty=tuple(faulty),
        outside=Counter({name: n for name, n in categories.items() if name not in names}),
        unlabelled=unlabelled,
        label_names=names,
        body_types=types,
        splits=splits,
        stores=tuple(settings.store_folder(body_type, split) for body_type in types for split in splits),
    )


def _read_splits(
    settings: PrepareSettings, babel: Path
) -> tuple[list[tuple[str, Record]], list[tuple[str, str]]]:
    """(split, record) of all splits, and (record, reason) of faulty ones.

    A split that was asked for by name must be there.
    """
    # Without a wish, splits that were not downloaded are passed over.
    records: list[tuple[str, Record]] = []
    faulty: list[tuple[str, str]] = []
    for split in settings.splits:
        path = babel / f"{split}.json"
        if settings.split is None and not path.is_file():
            continue
        of_split, wrong = read_babel(path)
        records += [(split, record) for record in of_split]
        faulty += wrong
    return records, faulty


def _release(body_type: BodyType) -> Release:
    """The release of AMASS that a body is made from."""
    return "smplx" if body_type == "smplx" else "smplh"


def _source(settings: PrepareSettings, name: str, release: Release, types: Sequence[BodyType]) -> SourceFile:
    assert settings.amass
    made_of_it = tuple(body_type for body_type in types if _release(body_type) == release)
    return SourceFile(settings.amass, name, "amass", made_of_it, settings.conversion("amass"))


def _body_types(settings: PrepareSettings, layout: AmassLayout) -> tuple[BodyType, ...]:
    """Those asked for, or else those of which AMASS's folder is there."""
    assert settings.amass
    if not settings.amass.is_dir():
        raise PoseGPTError(
            f"no folder {settings.amass}", "amass is the folder of smplx/ or smplh/", parameter="amass"
        )

    # Bodies that were asked for by name must all be possible; of the usual ones those that are.
    there: list[BodyType] = []
    lacking: list[BodyType] = []
    for body_type in settings.body_types:
        (there if layout.has(_release(body_type)) else lacking).append(body_type)
    if not there or (settings.type and lacking):
        folder = _release(lacking[0])
        raise PoseGPTError(
            f"no folder {folder} in {settings.amass}, from which {lacking[0]} is made",
            f"unpack the archives of AMASS's {folder} release there, e.g. to {folder}/ACCAD/, "
            "or choose another type",
            parameter="type",
        )
    return tuple(there)


class _BabelStores:
    """The stores of every body type and split, open for writing at once."""

    def __init__(self, settings: PrepareSettings, plan: BabelPlan, stack: ExitStack, digest: str) -> None:
        self.settings = settings
        self.digest = digest
        self.columns = {name: k for k, name in enumerate(plan.label_names)}
        self.short = 0

        # Every store is open at once, because each file is read only once and may go to several.
        self.keys: dict[tuple[BodyType, str], str] = {}
        """(body type, split) -> what the report calls the store."""
        self.writers: dict[tuple[BodyType, str], StoreWriter] = {}
        for body_type in plan.body_types:
            for split in plan.splits:
                key = split if len(plan.body_types) == 1 else f"{body_type} {split}"
                self.keys[body_type, split] = key
                writer = self._writer(body_type, split, plan)
                self.writers[body_type, split] = stack.enter_context(writer)
        self.tally = Tally(self.keys.values(), settings.fps)

    def _writer(self, body_type: BodyType, split: str, plan: BabelPlan) -> StoreWriter:
        header = StoreHeader(
            split=split,
            body_type=body_type,
            fps=self.settings.fps,
            label_names=plan.label_names,
            settings=recorded_settings(self.settings, self.digest),
        )
        return StoreWriter(
            self.settings.store_folder(body_type, split),
            header,
            force=True,  # `prepare_babel` has asked
            from_zero=True,
            per_frame=self.settings.untrimmed,
        )

    def add(self, clip: BabelClip, motion: Motion) -> None:
        """Cut a clip by each of its records."""
        for split, record in clip.uses:
            labelled = segments(record.spans, motion.n_frames, motion.fps, self.columns)
            cutter = _ClipWriter(self, clip.source.name, split, motion)
            if self.settings.untrimmed:
                self._add_whole(cutter, record, labelled)
            else:
                self._add_segments(cutter, record, labelled)

    def _add_segments(self, clip: "_ClipWriter", record: Record, labelled: Sequence[LabelledSegment]) -> None:
        """Each segment in windows, with the segment's labels."""
        for number, segment in enumerate(labelled):
            windows = self._windows(segment.start, segment.stop)
            self.short += not windows
            for window in windows:
                name = f"{record.sid}_{number}_{window[0]}"
                clip.put(window, segment.labels, name, texts=segment.texts)

    def _add_whole(self, clip: "_ClipWriter", record: Record, labelled: Sequence[LabelledSegment]) -> None:
        """The clip with the labels of each frame, in windows if it is longer than one."""
        n_frames = clip.motion.n_frames
        labels = frame_labels(labelled, n_frames, self.columns)
        windows = self._windows(0, n_frames)
        self.short += not windows
        for start, stop in windows:
            # For the report: how many frames of the window show each label.
            per_frame = labels[start:stop]
            counts = per_frame.sum(axis=0).tolist()
            shown = {name: counts[k] for name, k in self.columns.items() if counts[k]}
            texts: list[str] = []
            for segment in labelled:
                if segment.start < stop and segment.stop > start:
                    texts += segment.texts
            clip.put((start, stop), shown, f"{record.sid}_{start}", per_frame, texts)

    def _windows(self, start: int, stop: int) -> list[Window]:
        settings = self.settings
        return cut_windows(start, stop, settings.seq_len, settings.overlap, settings.min_seq_len)

    def summary(self) -> PrepareReport:
        folders = {key: self.writers[store].path for store, key in self.keys.items()}
        return PrepareReport(self.tally.splits, self.tally.by_label(), (), short=self.short, folders=folders)


@dataclass(frozen=True, eq=False)
class _ClipWriter:
    """Puts windows of one clip into its store, and counts them."""

    stores: _BabelStores
    source: str
    split: str
    motion: Motion

    def put(
        self,
        window: Window,
        labels: Sequence[str] | Mapping[str, int],
        name: str,
        per_frame: NDArray[np.bool_] | None = None,
        texts: Sequence[str] = (),
    ) -> None:
        """Add a window; `labels` may give the frames that show each label."""
        store = self.motion.body_type, self.split
        start, stop = window
        clip = ClipWindow(start, stop, tuple(labels), name, tuple(texts))
        self.stores.writers[store].add(self.motion, self.source, per_frame, clip)
        self.stores.tally.add(self.stores.keys[store], self.source, labels, 1, stop - start)
