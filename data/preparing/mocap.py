"""Folders of motion capture to training data: whole clips, split by clip, actor or list. Imports no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.actions import order_labels
from data.grouping import connected_groups
from data.preparing.annotations import cut_windows
from data.preparing.conversion import SourceFile
from data.preparing.finished import digest_of, finished_report, recorded_settings
from data.preparing.labels import (
    Labeller,
    LabelTable,
    actor_finder,
    default_labels,
    pattern_labeller,
    table_labeller,
)
from data.preparing.report import PrepareReport, Tally, group_reasons
from data.preparing.settings import PrepareSettings
from data.preparing.sources import ANY_BODY, KINDS, find_sources
from data.preparing.splits import (
    SHARED_FRAMES,
    assign_splits,
    members_of,
    shared_groups,
    shuffled,
    thinned,
)
from data.preparing.texts import text_finder
from data.preparing.work_folder import ConvertedFile, OnProgress, WorkFolder, convert_files, finished_files
from data.store import SPLITS, StoreHeader
from data.store_files import MANIFEST, STORE_FILES
from data.store_writer import StoreWriter
from models.body.skeleton import BodyType
from models.errors import PoseGPTError
from models.files import atomic_folder, refuse_existing
from models.ownership import refuse_foreign

_REASONS_NAMED = 3
"""Kinds of reasons that the message names if no file could be used."""

GroupOf = Callable[[Path], tuple[str, str]]
"""Path of a clip -> its actor or given split, and why it must be left out (empty: it need not)."""


@dataclass(frozen=True)
class Clip:
    """A file and what is known of it before it is read."""

    name: str
    source: SourceFile
    labels: tuple[str, ...]
    group: str = ""
    """Its actor, or the split that a list gives; empty if it has neither."""
    texts: tuple[str, ...] = ()
    """What it shows, in sentences."""


@dataclass(frozen=True)
class MocapPlan:
    """What there is to prepare."""

    clips: tuple[Clip, ...]
    skipped: tuple[tuple[str, str], ...]
    """(file, reason) of files without label, actor or split."""
    unmatched: tuple[tuple[str, str], ...]
    """(table, row) of rows in tables of labels or splits that name no file."""
    label_names: tuple[str, ...]
    stores: tuple[Path, ...]


def prepare_mocap(settings: PrepareSettings, on_progress: OnProgress | None = None) -> PrepareReport:
    """Whole clips of BVH, AMC and AMASS files as stores; see `data.preparing.prepare.prepare`."""
    plan = plan_mocap(settings)
    work = WorkFolder(settings.work_folder, shared=bool(settings.shard))
    digest = digest_of((clip.source, (clip.name, clip.labels, clip.group)) for clip in plan.clips)
    earlier = finished_report(settings, plan.stores, digest)
    if earlier:
        return earlier

    # Asked before any work is done. Stores of the same run, interrupted, may be written again.
    recorded = settings.recorded()
    for folder in {store.parent for store in plan.stores}:
        refuse_existing(folder, settings.force or work.may_replace(folder / SPLITS[0], recorded))
        refuse_foreign(folder, f"*/{MANIFEST}", [f"*/{name}" for name in STORE_FILES], "data set")

    # Results stay in the work folder; what is kept here of each clip is small.
    clips = [clip for k, clip in enumerate(plan.clips) if settings.in_shard(k)]
    sources = [clip.source for clip in clips]
    skipped = list(plan.skipped)
    used: list[tuple[Clip, ConvertedFile]] = []
    with work:
        if settings.merge:
            results = finished_files(work, sources, on_progress)
        else:
            results = convert_files(work, sources, settings.jobs, on_progress)
        for clip, result in zip(clips, results, strict=True):
            if result.is_usable:
                used.append((clip, result.without_arrays()))
            else:
                skipped.append((clip.source.name, result.reason))

        if settings.shard:
            return PrepareReport({}, {}, tuple(skipped), unmatched=plan.unmatched, converted=len(used))
        if not used:
            raise _nothing_usable(settings, skipped)
        report = _MocapStores(settings, used, digest).write()
        work.remove()

    glitches = []
    notes = []
    for clip, result in used:
        notes += [(clip.source.name, note) for note in result.notes]
        if result.glitches:
            glitches.append((clip.source.name, result.glitches))
    return replace(
        report,
        skipped=tuple(skipped),
        unmatched=plan.unmatched,
        converted=len(used),
        glitches=tuple(glitches),
        notes=tuple(notes),
    )


def _nothing_usable(settings: PrepareSettings, skipped: Sequence[tuple[str, str]]) -> PoseGPTError:
    """What to raise if all files were left out: the kinds of reasons, the most frequent first."""
    # The most frequent reasons first: one of them usually explains all.
    folders = [str(getattr(settings, kind)) for kind in KINDS if getattr(settings, kind)]
    said = []
    for group in group_reasons(skipped)[:_REASONS_NAMED]:
        said.append(f"{len(group.files)}: {group.reason} ({group.files[0]})")
    return PoseGPTError(
        f"none of the {len(skipped)} files in {' and '.join(folders)} could be used; {'; '.join(said)}",
        "repair the first reason, or give other files",
    )


def plan_mocap(settings: PrepareSettings) -> MocapPlan:
    """Files with labels and groups. Raises PoseGPTError if a folder, table or pattern is faulty."""
    labeller = _labeller(settings)
    split_table = _split_table(settings)
    group_of = _grouping(settings, split_table)
    texts_of = text_finder(settings.labels, settings.texts)
    sources = find_sources(settings)

    # A clip needs a label and, if splits are given, a split: without them it is left out and said.
    clips: list[Clip] = []
    skipped: list[tuple[str, str]] = []
    for source, name in zip(sources, _unique_names(sources), strict=True):
        path = Path(source.name)
        if labeller:
            labels = labeller(path)
        else:
            labels = source.labels or default_labels(path) or (source.root.resolve().name,)
        group, reason = group_of(path)
        if labels is None:
            by = settings.labels.name if settings.labels else "the pattern"
            skipped.append((source.name, f"no label by {by}"))
        elif reason:
            skipped.append((source.name, reason))
        else:
            clips.append(Clip(name, source, labels, group, texts_of(path)))

    # Rows of a table that name no file are probably misspelt: they are reported.
    names = order_labels(name for clip in clips for name in clip.labels)
    is_any_body = any(getattr(settings, kind) for kind in ANY_BODY)
    types = settings.body_types if is_any_body else ("smpl",)
    stores = tuple(settings.store_folder(body_type, split) for body_type in types for split in SPLITS)
    paths = [Path(source.name) for source in sources]
    unmatched = _unmatched(settings.labels, labeller, paths)
    unmatched += _unmatched(settings.split_list, split_table, paths)
    return MocapPlan(tuple(clips), tuple(skipped), tuple(unmatched), names, stores)


def _unmatched(file: Path | None, table: Labeller | None, paths: Sequence[Path]) -> list[tuple[str, str]]:
    """(table, row) of rows that name no clip."""
    if file is None or not isinstance(table, LabelTable):
        return []
    return [(file.name, row) for row in table.unmatched(paths)]


def _labeller(settings: PrepareSettings) -> Labeller | None:
    """How clips get their labels (None: by file or folder name).

    Raises PoseGPTError if both ways are given, or one is faulty.
    """
    if settings.labels and settings.label_pattern:
        raise PoseGPTError(
            "actions are given twice, by a file and by a pattern",
            "use labels or label_pattern",
            parameter=("labels", "label_pattern"),
        )
    if settings.labels:
        return table_labeller(settings.labels)
    if settings.label_pattern:
        return pattern_labeller(settings.label_pattern)
    return None


def _split_table(settings: PrepareSettings) -> LabelTable | None:
    """The splits that a list gives. Raises PoseGPTError if actors do too, or the list is faulty."""
    if settings.split_list is None:
        return None
    if settings.actor_pattern:
        raise PoseGPTError(
            "splits are given twice",
            "use actor_pattern or split_list",
            parameter=("actor_pattern", "split_list"),
        )
    return table_labeller(settings.split_list, "split", "split_list")


def _grouping(settings: PrepareSettings, split_table: LabelTable | None) -> GroupOf:
    """What groups a clip: its actor's name, its given split, or nothing.

    Raises PoseGPTError if the pattern or a split is faulty.
    """
    if settings.actor_pattern:
        return _by_actor(settings.actor_pattern)
    if split_table and settings.split_list:
        return _by_split(split_table, settings.split_list.name)
    return lambda path: ("", "")


def _by_actor(pattern: str) -> GroupOf:
    # A file whose name shows no actor cannot be kept apart from any actor, so it is left out.
    actor_of = actor_finder(pattern)

    def group(path: Path) -> tuple[str, str]:
        actor = actor_of(path)
        if not actor:
            return "", "no actor by the pattern"
        return actor, ""

    return group


def _by_split(split_table: LabelTable, file: str) -> GroupOf:
    def group(path: Path) -> tuple[str, str]:
        row = split_table(path)
        if not row:
            return "", f"no split by {file}"
        if row[0] not in SPLITS:
            raise PoseGPTError(f"{file} puts {path.name} into {row[0]!r}", f"use {', '.join(SPLITS)}")
        return row[0], ""

    return group


def _unique_names(sources: Sequence[SourceFile]) -> list[str]:
    """The files' stems if these are unique, else their paths without suffix, else with their folder."""
    paths = [Path(source.name).with_suffix("") for source in sources]
    for names in ([path.name for path in paths], [path.as_posix() for path in paths]):
        if len(set(names)) == len(names):
            return names
    return [f"{source.root.name}/{path.as_posix()}" for source, path in zip(sources, paths, strict=True)]


class _MocapStores:
    """The stores of usable clips."""

    def __init__(
        self, settings: PrepareSettings, used: Sequence[tuple[Clip, ConvertedFile]], digest: str
    ) -> None:
        self.settings = settings
        self.digest = digest
        self.used = used
        self.names = [clip.name for clip, _ in used]
        names: list[str] = []
        for clip, _ in used:
            names += clip.labels
        self.vocabulary = order_labels(names)
        # A body that no file could give gets no store.
        there: set[BodyType] = set()
        for _, result in used:
            there.update(result.body_types)
        self.types = [body_type for body_type in settings.body_types if body_type in there]
        self.tally = Tally((self._key(b, split) for b in self.types for split in SPLITS), settings.fps)

    def write(self) -> PrepareReport:
        # Thinned hashes show only a share of the common frames.
        # One recording cut into several clips may not be split: it would be tested on what was trained.
        hashes, factor = thinned(result.hashes() for _, result in self.used)
        groups = shared_groups(hashes, max(1, SHARED_FRAMES // factor))
        splits = self._assign(groups)
        for body_type in self.types:
            self._write_type(body_type, splits)

        # Groups of one clip are no news; a given list may put one recording's clips into several splits.
        shared = []
        torn = []
        for clips in members_of(groups):
            if len(clips) == 1:
                continue
            names = tuple(self.names[k] for k in clips)
            shared.append(names)
            if len({splits[k] for k in clips}) > 1:
                torn.append(names)
        folders = {}
        for body_type in self.types:
            for split in SPLITS:
                folders[self._key(body_type, split)] = self.settings.store_folder(body_type, split)
        return PrepareReport(
            splits=self.tally.splits,
            labels=self.tally.by_label(),
            skipped=(),
            shared=tuple(shared),
            torn=tuple(torn),
            folders=folders,
        )

    def _key(self, body_type: BodyType, split: str) -> str:
        """What the report calls a store."""
        return split if len(self.types) == 1 else f"{body_type} {split}"

    def _assign(self, groups: Sequence[int]) -> list[str]:
        """Each clip's split: by the list, by actor (clips that share frames join actors), or by clip."""
        settings = self.settings
        if settings.split_list:
            return [clip.group for clip, _ in self.used]
        # A clip counts for its first label: each label's share is held out.
        labels = [clip.labels[0] if clip.labels else "" for clip, _ in self.used]
        if settings.actor_pattern:
            # An actor shows many labels, so that actors cannot be split within each label.
            labels = [""] * len(labels)
            groups = self._joined_by_actor(groups)
        return assign_splits(
            self.names, labels, groups, settings.val_share, settings.test_share, settings.seed
        )

    def _joined_by_actor(self, groups: Sequence[int]) -> list[int]:
        """Groups of clips such that neither a group nor an actor is torn."""
        # Each clip is linked to its group and to the first clip of its actor; chains of links do the rest.
        first_clip: dict[str, int] = {}
        pairs = []
        for k, (clip, _) in enumerate(self.used):
            pairs.append((k, groups[k]))
            pairs.append((k, first_clip.setdefault(clip.group, k)))
        return connected_groups(len(groups), pairs)

    def _write_type(self, body_type: BodyType, splits: Sequence[str]) -> None:
        settings = self.settings
        # Shuffled, so that a run over the first part of a store sees all labels. The splits of a body type
        # appear together, when all of them are whole.
        order = shuffled(self.names, settings.seed)
        target = settings.store_folder(body_type, SPLITS[0]).parent
        with atomic_folder(target, force=True) as partial:  # `prepare_mocap` has asked
            for split in SPLITS:
                header = StoreHeader(
                    split=split,
                    body_type=body_type,
                    fps=settings.fps,
                    label_names=self.vocabulary,
                    settings=recorded_settings(settings, self.digest),
                )
                with StoreWriter(partial / split, header) as writer:
                    for k in order:
                        clip, result = self.used[k]
                        if splits[k] == split and body_type in result.body_types:
                            self._add(writer, clip, result, body_type, split)

    def _add(
        self, writer: StoreWriter, clip: Clip, result: ConvertedFile, body_type: BodyType, split: str
    ) -> None:
        settings = self.settings
        motion = result.motion(body_type, settings.fps)
        labelled = replace(motion, labels=clip.labels, name=clip.name)
        writer.add(labelled, clip.source.name, texts=clip.texts)
        windows = cut_windows(0, motion.n_frames, settings.seq_len, 0, settings.min_seq_len)
        key = self._key(body_type, split)
        self.tally.add(key, clip.name, clip.labels, len(windows), motion.n_frames)
