"""Folders of motion capture to training data: whole clips, split by clip, actor or list. Imports no torch."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.actions import order_labels
from data.preparing.annotations import cut
from data.preparing.convert import SUFFIX, Kind, Task, find_files
from data.preparing.labels import (
    Labeller,
    LabelTable,
    actor_finder,
    default_labels,
    pattern_labeller,
    table_labeller,
)
from data.preparing.report import PrepareReport, Tally
from data.preparing.settings import PrepareSettings
from data.preparing.splits import SHARED_FRAMES, assign_splits, shared_groups, shuffled, thinned
from data.preparing.work import Progress, Result, Work, results, silent
from data.store import SPLITS, StoreWriter
from models.body.skeleton import BodyType
from models.errors import PoseGPTError
from models.files import atomic_folder, refuse_existing
from models.motion import Motion

_KINDS: tuple[Kind, ...] = ("bvh", "amc", "amass")


@dataclass(frozen=True)
class Clip:
    """A file and what is known of it before it is read."""

    name: str
    task: Task
    labels: tuple[str, ...]
    group: str = ""
    """Its actor, or the split that a list gives; empty where it stands for itself."""


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


def prepare_mocap(settings: PrepareSettings, report: Progress = silent) -> PrepareReport:
    """Whole clips of --bvh, --amc and --amass as stores; see `data.preparing.prepare.prepare`."""
    found = plan_mocap(settings)
    work, recorded = Work(settings.work_folder, shared=bool(settings.shard)), settings.recorded()
    for folder in {store.parent for store in found.stores}:
        refuse_existing(folder, settings.force or work.may_replace(folder / SPLITS[0], recorded))
    skipped = list(found.skipped)
    with work:
        used: list[tuple[Clip, Result]] = []
        tasks = [clip.task for clip in found.clips]
        for k, result in results(work, tasks, settings.jobs, report, settings.in_shard, settings.merge):
            if result.is_usable:
                used.append((found.clips[k], result.without_arrays()))
            else:
                skipped.append((tasks[k].source, result.reason))
        if settings.shard:
            return PrepareReport({}, {}, tuple(skipped), unmatched=found.unmatched, converted=len(used))
        if not used:
            first = f"; the first: {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
            folders = " and ".join(dict.fromkeys(str(task.root) for task in tasks))
            raise PoseGPTError(
                f"none of the {len(tasks)} files in {folders} could be used{first}", "look at the files"
            )
        made = _Stores(settings, used).write()
        work.remove()
    glitches = tuple((clip.task.source, result.glitches) for clip, result in used if result.glitches)
    return replace(
        made, skipped=tuple(skipped), unmatched=found.unmatched, converted=len(used), glitches=glitches
    )


def plan_mocap(settings: PrepareSettings) -> MocapPlan:
    """Files with labels and groups. Raises PoseGPTError where a folder, table or pattern is faulty."""
    labeller, splits = _labeller(settings), _split_table(settings)
    group_of = _grouping(settings, splits)
    tasks = _find_tasks(settings)
    clips, skipped = list[Clip](), list[tuple[str, str]]()
    for task, name in zip(tasks, _unique_names(tasks), strict=True):
        path = Path(task.source)
        labels = labeller(path) if labeller else default_labels(path) or (task.root.resolve().name,)
        group, why = group_of(path)
        if labels is None:
            why = f"no label by {settings.labels.name if settings.labels else 'the pattern'}"
        if labels is None or why:
            skipped.append((task.source, why))
        else:
            clips.append(Clip(name, task, labels, group))
    names = order_labels(name for clip in clips for name in clip.labels)
    types = settings.body_types if settings.amass else ("smpl",)
    stores = tuple(settings.store_folder(body_type, split) for body_type in types for split in SPLITS)
    paths = [Path(task.source) for task in tasks]
    unmatched = [
        (file.name, row)
        for file, table in ((settings.labels, labeller), (settings.split_list, splits))
        if file and isinstance(table, LabelTable)
        for row in table.unmatched(paths)
    ]
    return MocapPlan(tuple(clips), tuple(skipped), tuple(unmatched), names, stores)


def _find_tasks(settings: PrepareSettings) -> list[Task]:
    """The files of all sources. Raises PoseGPTError where a folder holds none."""
    tasks: list[Task] = []
    for kind in _KINDS:
        folder = getattr(settings, kind)
        if folder:
            types: tuple[BodyType, ...] = settings.body_types if kind == "amass" else ("smpl",)
            how = settings.conversion(kind)
            files = find_files(folder, SUFFIX[kind])
            tasks += [Task(folder, p.relative_to(folder).as_posix(), kind, types, how) for p in files]
    return tasks


def _labeller(settings: PrepareSettings) -> Labeller | None:
    """How clips get their labels (None: by file or folder name).

    Raises PoseGPTError where both ways are given, or one is faulty.
    """
    if settings.labels and settings.label_pattern:
        raise PoseGPTError(
            "labels are given twice, by a file and by a pattern", "use --labels or --label-pattern"
        )
    if settings.labels:
        return table_labeller(settings.labels)
    return pattern_labeller(settings.label_pattern) if settings.label_pattern else None


def _split_table(settings: PrepareSettings) -> LabelTable | None:
    """The splits that a list gives. Raises PoseGPTError where actors do too, or the list is faulty."""
    if settings.actor_pattern and settings.split_list:
        raise PoseGPTError("splits are given twice", "use --actor-pattern or --split-list")
    return table_labeller(settings.split_list, "split", "--split-list") if settings.split_list else None


def _grouping(settings: PrepareSettings, listed: LabelTable | None) -> Callable[[Path], tuple[str, str]]:
    """Path of a clip -> its actor or given split, and why it must be left out (empty: it need not).

    Raises PoseGPTError where the pattern or a split is faulty.
    """
    if settings.actor_pattern:
        actor = actor_finder(settings.actor_pattern)
        return lambda path: (actor(path) or "", "" if actor(path) else "no actor by the pattern")
    if not (listed and settings.split_list):
        return lambda path: ("", "")
    name = settings.split_list.name

    def given(path: Path) -> tuple[str, str]:
        found = listed(path)
        if not found:
            return "", f"no split by {name}"
        if found[0] not in SPLITS:
            raise PoseGPTError(f"{name} puts {path.name} into {found[0]!r}", f"use {', '.join(SPLITS)}")
        return found[0], ""

    return given


def _unique_names(tasks: Sequence[Task]) -> list[str]:
    """The files' stems where these are unique, else their paths without suffix, else with their folder."""
    paths = [Path(task.source).with_suffix("") for task in tasks]
    for names in ([p.name for p in paths], [p.as_posix() for p in paths]):
        if len(set(names)) == len(names):
            return names
    return [f"{task.root.name}/{path.as_posix()}" for task, path in zip(tasks, paths, strict=True)]


class _Stores:
    """The stores of usable clips."""

    def __init__(self, settings: PrepareSettings, used: Sequence[tuple[Clip, Result]]) -> None:
        self.settings = settings
        self.used = used
        self.names = [clip.name for clip, _ in used]
        self.vocabulary = order_labels(name for clip, _ in used for name in clip.labels)

    def write(self) -> PrepareReport:
        hashes, factor = thinned(result.hashes() for _, result in self.used)
        groups = shared_groups(hashes, max(1, SHARED_FRAMES // factor))
        splits = self._assign(groups)
        types = [b for b in self.settings.body_types if any(b in r.body_types for _, r in self.used)]
        keys = [(b, split, split if len(types) == 1 else f"{b} {split}") for b in types for split in SPLITS]
        tally = Tally((key for _, _, key in keys), self.settings.fps)
        for body_type in types:
            self._write_type(body_type, splits, {s: key for b, s, key in keys if b == body_type}, tally)
        members: dict[int, list[int]] = defaultdict(list)
        for k, group in enumerate(groups):
            members[group].append(k)
        several = [clips for clips in members.values() if len(clips) > 1]
        return PrepareReport(
            splits=tally.splits,
            labels=tally.by_label(),
            skipped=(),
            shared=tuple(tuple(self.names[k] for k in clips) for clips in several),
            torn=tuple(
                tuple(self.names[k] for k in clips)
                for clips in several
                if len({splits[k] for k in clips}) > 1
            ),
            folders={key: self.settings.store_folder(b, split) for b, split, key in keys},
        )

    def _assign(self, groups: Sequence[int]) -> list[str]:
        """Each clip's split: by the list, by actor (clips that share frames join actors), or by clip."""
        settings = self.settings
        if settings.split_list:
            return [clip.group for clip, _ in self.used]
        labels = [clip.labels[0] if clip.labels else "" for clip, _ in self.used]
        if settings.actor_pattern:
            labels = [""] * len(labels)  # an actor has many: actors are drawn from one hat
            groups = _joined(groups, [clip.group for clip, _ in self.used])
        return assign_splits(
            self.names, labels, groups, settings.val_share, settings.test_share, settings.seed
        )

    def _write_type(
        self, body_type: BodyType, splits: Sequence[str], keys: dict[str, str], tally: Tally
    ) -> None:
        settings = self.settings
        order = shuffled(self.names, settings.seed)
        target = settings.store_folder(body_type, SPLITS[0]).parent
        with atomic_folder(target, force=True) as partial:  # `prepare_mocap` has asked
            for split in SPLITS:
                with StoreWriter(
                    partial / split,
                    split=split,
                    body_type=body_type,
                    fps=settings.fps,
                    label_names=self.vocabulary,
                    settings=settings.recorded(),
                ) as writer:
                    for k in order:
                        clip, result = self.used[k]
                        if splits[k] == split and body_type in result.body_types:
                            motion = result.motion(body_type, settings.fps)
                            self._add(writer, clip, motion, keys[split], tally)

    def _add(self, writer: StoreWriter, clip: Clip, motion: Motion, key: str, tally: Tally) -> None:
        writer.add(replace(motion, labels=clip.labels, name=clip.name), clip.task.source)
        windows = cut(0, motion.n_frames, self.settings.seq_len, 0, self.settings.min_seq_len)
        tally.add(key, clip.name, clip.labels, len(windows), motion.n_frames)


def _joined(groups: Sequence[int], actors: Sequence[str]) -> list[int]:
    """Groups of clips such that neither a group nor an actor is torn: the first clip's number."""
    home = list(range(len(groups)))

    def root(k: int) -> int:
        while home[k] != k:
            k = home[k]
        return k

    first: dict[object, int] = {}
    for k, names in enumerate(zip(groups, actors, strict=True)):
        for name in names:
            a, b = root(first.setdefault(name, k)), root(k)
            home[max(a, b)] = min(a, b)
    return [root(k) for k in range(len(groups))]
