"""Dataset and dataloader: windows of a store as batches, for training and for evaluation.

A training batch is a pure function of the seed and the step. Torch is imported only when a batch is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data.augment import mirror_labels, mirror_poses, mirror_trans, rotate_freely, rotate_heading
from data.rarity import rarity, rarity_of_sets
from data.store import Store
from data.text_bank import TextBank
from data.transitions import join_at
from data.window_plan import IntArray, WindowPlan
from models.body.skeleton import REST_PELVIS, n_joints
from models.config import FADE_FRAMES
from models.errors import PoseGPTError
from models.rotations import slerp
from models.training.config import FrameLabelWindowsConfig, WindowsConfig

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import DataLoader

    from models.batch import Batch

MOST_OFTEN = 100.0
"""A clip never comes up more than this many times as often as its length would have it."""

_SLOTS_PER_WINDOW = 4
"""The order runs over four epochs at once, so that short clips get their fair share."""


@dataclass(frozen=True, eq=False)
class _Second:
    """The second part of a batch's windows; all (B,)."""

    lengths: IntArray
    """Frames of both parts."""
    cuts: IntArray
    clips: IntArray
    starts: IntArray


class Windows:
    """Dataset of windows of seq_len frames out of a store's clips.

    Training: clips are visited in proportion to their lengths, in random order, at a random place.
    Batch `step` depends on the seed and the step alone, so a run can be resumed anywhere, with any number of
    workers; of several processes each gets its part of it. Evaluation: non-overlapping windows, the remainder
    of a clip kept from min_seq_len frames on.

    Args:
        store: an open store.
        config: length, augmentation and order of the windows. `balance_actions` weighs clips of rare actions
            and `balance_sets` those of small sets, each at most MOST_OFTEN times; with a
            FrameLabelWindowsConfig labels are (B, T, L), of every frame, and `join_share` of the training
            windows are two clips, joined without a jump at a random place.
        rank: index of this process among those that share every batch.
        world: the number of those processes.
        texts: what the clips show in words, if batches are to have that.

    Raises:
        PoseGPTError: if no clip is long enough.
    """

    def __init__(
        self,
        store: Store,
        config: WindowsConfig,
        rank: int = 0,
        world: int = 1,
        texts: TextBank | None = None,
    ) -> None:
        self.store = store
        self.texts = texts
        self.config = config
        self.rank = rank
        self.world = world
        self.seq_len = config.seq_len
        self.min_seq_len = min(config.min_seq_len, config.seq_len)
        self.batch_size = config.train_batch_size
        self.body_type = store.manifest.body_type
        self.join_share = 0.0
        copies = 0
        if isinstance(config, FrameLabelWindowsConfig):
            self.join_share = config.join_share
            copies = config.token_copies

        lengths = np.asarray(store.lengths)
        usable = np.flatnonzero(lengths >= self.min_seq_len)
        self.n_short_clips = len(lengths) - len(usable)
        """Clips left out because they are shorter than min_seq_len."""
        if len(usable) == 0:
            raise self._nothing_usable(lengths)

        usable = usable[: config.n_train]

        # A clip has as many slots as its share of the frames, times what its rarity gains it.
        slots = _SLOTS_PER_WINDOW * lengths[usable] / self.seq_len
        slots *= rarity(store, usable, MOST_OFTEN) ** config.balance_actions
        if config.balance_sets:
            slots *= rarity_of_sets(store, usable, MOST_OFTEN) ** config.balance_sets
        self._slots = np.repeat(usable, np.maximum(1, np.round(slots).astype(np.int64)))
        self._mirrored_label = mirror_labels(store.label_names)
        self.n_steps = max(1, round(copies * self.steps_per_epoch)) if copies else None
        """Training batches before the same ones come again in another order (None: they never do)."""

    def _nothing_usable(self, lengths: NDArray[np.integer]) -> PoseGPTError:
        """What to raise if no clip is long enough."""
        # Of a few clips, the split for validation may have got none.
        path = self.store.path
        if len(lengths) == 0:
            return PoseGPTError(f"there is no clip in {path}", "prepare more clips")
        longest = int(lengths.max())
        return PoseGPTError(
            f"none of the {len(lengths)} clips in {path} has {self.min_seq_len} frames",
            f"prepare longer clips, or use min_seq_len={longest}",
            "min_seq_len",
        )

    def of_rank(self, rank: int, world: int) -> Windows:
        """The same windows as one process among several sees them."""
        twin = copy(self)
        twin.rank, twin.world = rank, world
        return twin

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which as many frames are used as the clips have."""
        return len(self._slots) / (_SLOTS_PER_WINDOW * self.batch_size)

    def batch(self, step: int) -> Batch:
        """This rank's part of training batch number `step`."""
        batch = self._gather(self.plan(step), np.random.default_rng([self.config.seed, 5, step, self.rank]))
        if self.n_steps:
            import torch

            rows = self._repeated(step) * self.batch_size + np.arange(self.batch_size)
            batch.rows = torch.from_numpy(rows[self.rank :: self.world])
        return batch

    def plan(self, step: int) -> WindowPlan:
        """Which windows this rank's part of batch number `step` holds."""
        step = self._repeated(step)
        clips = self._clips_of_batch(step)
        speeds = self._speeds(np.random.default_rng([self.config.seed, 3, step]))
        second = self._second_clips(clips, speeds, np.random.default_rng([self.config.seed, 2, step]))

        # Every random number is taken whether or not it is used, so that one setting does not move another.
        rng = np.random.default_rng([self.config.seed, 1, step])
        starts = self._starts(self._n_frames(clips, speeds), second.cuts, rng)
        mirrored = rng.random(self.batch_size) < (0.5 if self.config.mirror else 0.0)
        turned = np.zeros(self.batch_size)
        if self.config.rotate:
            turned = rng.uniform(-np.pi, np.pi, self.batch_size)
        rng = np.random.default_rng([self.config.seed, 4, step])
        limits = np.deg2rad([self.config.tilt, self.config.roll])
        tilted = rng.uniform(-limits, limits, (self.batch_size, 2))
        whole = WindowPlan(
            clips=clips,
            starts=starts,
            lengths=second.lengths,
            mirrored=mirrored,
            turned=turned,
            tilted=tilted,
            cuts=second.cuts,
            next_clips=second.clips,
            next_starts=second.starts,
            speeds=speeds,
        )
        return whole.part(slice(self.rank, None, self.world))

    def _clips_of_batch(self, step: int) -> IntArray:
        """(batch_size,) clips of batch number `step`; a batch may reach from one epoch into the next."""
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, places = np.divmod(positions, len(self._slots))
        clips = np.empty(self.batch_size, np.int64)
        for epoch in np.unique(epochs):
            of_epoch = epochs == epoch
            order = _permutation(len(self._slots), self.config.seed, int(epoch))
            clips[of_epoch] = self._slots[order[places[of_epoch]]]
        return clips

    def eval_plan(self) -> WindowPlan:
        """Every non-overlapping window, in a fixed mixed order: the first batches are a fair sample."""
        windows: list[tuple[int, int, int]] = []
        for clip, n_frames in enumerate(np.asarray(self.store.lengths)):
            for start in range(0, int(n_frames), self.seq_len):
                length = min(self.seq_len, int(n_frames) - start)
                if length >= self.min_seq_len:
                    windows.append((clip, start, length))
        order = np.random.default_rng(0).permutation(len(windows))[self.rank :: self.world]
        clips, starts, lengths = np.array(windows, np.int64).reshape(-1, 3)[order].T
        return WindowPlan(
            clips=clips,
            starts=starts,
            lengths=lengths,
            mirrored=np.zeros(len(order), bool),
            turned=np.zeros(len(order)),
            tilted=np.zeros((len(order), 2)),
            cuts=lengths,
            next_clips=clips,
            next_starts=starts,
            speeds=np.ones(len(order)),
        )

    def eval_batches(self) -> Iterator[Batch]:
        """All windows of `eval_plan`, never mirrored; the last batch may be smaller."""
        plan = self.eval_plan()
        size = max(1, self.batch_size // self.world)
        for first in range(0, len(plan.clips), size):
            yield self._gather(plan.part(slice(first, first + size)))

    def loader(
        self, start_step: int, stop_step: int, num_workers: int = 0, prefetch_factor: int = 2
    ) -> DataLoader[Batch]:
        """Batches start_step to stop_step (exclusive), made in worker processes that map the store anew."""
        from torch import Generator
        from torch.utils.data import DataLoader

        # The items are whole batches, which the plan of a step has chosen already.
        return DataLoader(
            _Steps(self),  # type: ignore[arg-type]
            batch_size=None,
            sampler=range(start_step, stop_step),
            num_workers=num_workers,
            prefetch_factor=prefetch_factor if num_workers else None,
            # A generator of its own: seeding the workers must not move the random state of the run.
            generator=Generator(),
        )

    def _repeated(self, step: int) -> int:
        """Number of the batch at a step: one after the other at first, then all again in random order."""
        if not self.n_steps or step < self.n_steps:
            return step
        again, place = divmod(step, self.n_steps)
        return int(_permutation(self.n_steps, self.config.seed, again)[place])

    def _speeds(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """(batch_size,) how much faster each window plays; as often slower as faster."""
        warp = self.config.time_warp
        return np.exp(rng.uniform(-warp, warp, self.batch_size))

    def _n_frames(self, clips: IntArray, speeds: NDArray[np.float64]) -> IntArray:
        """(B,) frames of clips (B,) when they are played at these speeds."""
        last = np.asarray(self.store.lengths)[clips] - 1
        return np.floor(last / speeds).astype(np.int64) + 1

    def _starts(self, n_frames: IntArray, lengths: IntArray, rng: np.random.Generator) -> IntArray:
        """(B,) random first frames of pieces of clips of n_frames (B,); a share of them start their clip."""
        starts = rng.integers(0, n_frames - lengths + 1)
        starts[rng.random(len(n_frames)) < self.config.start_share] = 0
        return starts

    def _second_clips(
        self, clips: IntArray, speeds: NDArray[np.float64], rng: np.random.Generator
    ) -> _Second:
        """What follows on each window's first clip: nothing, or another clip from a random place on.

        A window stays single where either clip is too short for a hand-over.
        """
        n_frames = self._n_frames(clips, speeds)
        lengths = np.minimum(n_frames, self.seq_len)
        # The second clip of a single window begins where the window ends.
        single = _Second(lengths, lengths, clips, np.zeros_like(lengths))
        if not self.join_share:
            return single

        # A clip must outlast its hand-over, on both sides of the cut.
        shortest = FADE_FRAMES + 1
        others = rng.choice(self._slots, len(clips))
        places = rng.integers(shortest, max(shortest, self.seq_len - shortest), len(clips), endpoint=True)
        cuts = np.minimum(n_frames, places)
        n_others = self._n_frames(others, speeds)
        rest = np.minimum(n_others, self.seq_len - cuts)

        wanted = rng.random(len(clips)) < self.join_share
        joined = wanted & (cuts >= shortest) & (rest >= shortest)
        starts = self._starts(n_others, np.where(joined, rest, 0), rng)
        return _Second(
            lengths=np.where(joined, cuts + rest, lengths),
            cuts=np.where(joined, cuts, lengths),
            clips=np.where(joined, others, clips),
            starts=np.where(joined, starts, 0),
        )

    def _gather(self, plan: WindowPlan, rng: np.random.Generator | None = None) -> Batch:
        """The batch of a plan; `rng` chooses among the texts of a clip (None: the first)."""
        import torch

        from models.batch import Batch

        # Frames of the window, the last one repeated as padding, and the place of each in its clip.
        times = np.minimum(np.arange(self.seq_len), plan.lengths[:, None] - 1)
        after = times >= plan.cuts[:, None]
        clips = np.where(after, plan.next_clips[:, None], plan.clips[:, None])
        # `times` counts from the start of the window, so the next clip starts `cuts` frames earlier.
        starts = np.where(after, (plan.next_starts - plan.cuts)[:, None], plan.starts[:, None])
        position = starts + times
        remaining = self._n_frames(clips, plan.speeds[:, None]) - position

        rows, poses, trans = self._frames(clips, position, plan.speeds)
        if self.store.heights is not None:
            trans[..., 1] += self.store.heights[clips]
        labels = self._labels(clips, rows)

        # Joined before anything is mirrored or turned, so that both clips are changed alike.
        joined = plan.joined
        if joined.any():
            poses[joined], trans[joined] = join_at(poses[joined], trans[joined], plan.cuts[joined])
        mirrored = plan.mirrored
        if mirrored.any():
            poses[mirrored] = mirror_poses(poses[mirrored], self.body_type)
            trans[mirrored] = mirror_trans(trans[mirrored])
            labels[mirrored] = labels[mirrored][..., self._mirrored_label]
        if plan.tilted.any():
            poses, trans = rotate_freely(poses, trans, plan.turned, plan.tilted)
        elif plan.turned.any():
            poses, trans = rotate_heading(poses, trans, plan.turned, REST_PELVIS[self.body_type])

        # Each window starts above the origin; its height over the floor stays.
        trans[:, :, ::2] -= trans[:, :1, ::2]
        if self.config.mask_trans:
            trans[:] = 0
        return Batch(
            poses=torch.from_numpy(poses),
            trans=torch.from_numpy(trans),
            length=torch.from_numpy(plan.lengths.copy()),
            labels=torch.from_numpy(labels),
            own=self._own(plan),
            position=torch.from_numpy(position),
            remaining=torch.from_numpy(remaining),
            text=None if self.texts is None else self.texts.of_frames(plan, after, rng),
        )

    def _frames(
        self, clips: IntArray, position: IntArray, speeds: NDArray[np.float64]
    ) -> tuple[IntArray, NDArray[np.float32], NDArray[np.float32]]:
        """Rows of the store (B, T), poses and translations of frames of clips played at speeds (B,)."""
        place = position * speeds[:, None]
        lower = np.floor(place).astype(np.int64)
        first = np.asarray(self.store.starts)[clips]
        rows = first + lower
        poses = self.store.poses[rows].reshape(*rows.shape, n_joints(self.body_type), 3)
        trans = self.store.trans[rows]

        # At another speed a frame falls between two of the clip's.
        warped = speeds != 1
        if warped.any():
            last = first + np.asarray(self.store.lengths)[clips] - 1
            after = np.minimum(rows + 1, last)[warped]
            share = (place - lower)[warped, :, None]
            end = self.store.poses[after].reshape(poses[warped].shape)
            poses[warped] = slerp(poses[warped], end, share[..., None])
            trans[warped] += (share * (self.store.trans[after] - trans[warped])).astype(np.float32)
        return rows, poses, trans

    def _own(self, plan: WindowPlan) -> Tensor | None:
        """(B,) column of the own name of each window's first clip; None if labels change within clips."""
        if self.store.frame_labels is not None:
            return None
        import torch

        own = self.store.own_labels[plan.clips]
        swapped = self._mirrored_label[own]
        return torch.from_numpy(np.where(plan.mirrored & (own >= 0), swapped, own))

    def _labels(self, clips: IntArray, rows: IntArray) -> NDArray[np.float32]:
        """(B, T, L) k-hot labels of each frame, or (B, L) of each window; clips and rows are (B, T)."""
        if self.store.frame_labels is None:
            labels = self.store.labels[clips if self.config.per_frame else clips[:, 0]]
        elif self.config.per_frame:
            labels = self.store.frame_labels[rows]
        else:
            labels = np.logical_or.reduce(self.store.frame_labels[rows], axis=1)
        return labels.astype(np.float32)


class _Steps:
    """A map-style data set whose items are whole batches."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows

    def __getitem__(self, step: int) -> Batch:
        return self.windows.batch(step)


@lru_cache(maxsize=8)
def _permutation(n: int, seed: int, epoch: int) -> IntArray:
    return np.random.default_rng([seed, 0, epoch]).permutation(n)
