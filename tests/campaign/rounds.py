"""Rounds of the campaign: in each, every reader and every kind of disturbance has its share."""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaign import writers
from tests.campaign.inputs import Subject, attack, make_subjects
from tests.campaign.works import make_works

PER_ROUND = {"kill": 20, "signal": 10, "full disk": 5, "pair": 10}
"""Trials of each kind of disturbance."""
INPUTS_PER_ROUND = 100
"""Damaged inputs of each reader. Fifty rounds are what a campaign of an hour is to reach at least."""
GOOD = ("whole", "read", "refused")
_IN_MEMORY = Path("/dev/shm")
"""Inputs are only read: where this folder is, no disk need hold them."""
Counts = dict[str, Counter[str]]
"""Reader or kind of disturbance -> outcome -> number."""

_KINDS: dict[str, Callable[[writers.Trial], writers.Verdict]] = {
    "kill": writers.kill,
    "signal": writers.interrupt,
    "full disk": writers.fill,
    "pair": writers.pair,
}


@dataclass
class Result:
    """What one worker has seen."""

    inputs: Counts = field(default_factory=dict)
    writers: Counts = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def add(self, other: "Result") -> None:
        """Add the counts and findings of another."""
        for counts, more in ((self.inputs, other.inputs), (self.writers, other.writers)):
            for name, outcomes in more.items():
                counts.setdefault(name, Counter()).update(outcomes)
        self.findings += other.findings


@dataclass(frozen=True)
class _Writers:
    """What is disturbed."""

    root: Path
    works: list[writers.Work]
    wholes: dict[str, writers.Wholes]
    weights: list[float]
    """How often each is taken: cheap ones more often than dear ones, so that the trials are many."""


def run_rounds(root: Path, seed: int, seconds: float) -> Result:
    """Whole rounds until the time is up.

    Args:
        root: a folder on a disk, to be made; the damaged inputs are kept in memory where that has a folder.
        seed: decides what is done to whom.
        seconds: when no further round begins.
    """
    import torch

    # Children are forked: other threads would not come along, and might hold a lock just then.
    torch.set_num_threads(1)
    begun = time.monotonic()
    rng = random.Random(seed)
    result = Result()
    in_memory = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="campaign-", dir=in_memory) as folder:
        subjects = make_subjects(Path(folder))
        disturbed = _prepare_writers(root / "writers")
        first = 0
        while time.monotonic() - begun < seconds:
            result.add(_read_inputs(subjects, Path(folder), seed, range(first, first + INPUTS_PER_ROUND)))
            result.add(_disturb_writers(disturbed, rng))
            first += INPUTS_PER_ROUND
    return result


def _read_inputs(subjects: list[Subject], root: Path, seed: int, numbers: range) -> Result:
    result = Result()
    for subject in subjects:
        outcome = attack(subject, root, numbers, seed)
        result.inputs[subject.name] = outcome.counts
        result.findings += outcome.findings
    return result


def _prepare_writers(root: Path) -> _Writers:
    works = make_works(root / "sources")
    wholes = {work.name: writers.undisturbed(work, root) for work in works}
    return _Writers(root, works, wholes, [1 / wholes[work.name].seconds for work in works])


def _disturb_writers(disturbed: _Writers, rng: random.Random) -> Result:
    result = Result()
    for kind, disturb in _KINDS.items():
        counts = result.writers.setdefault(kind, Counter())
        for work in rng.choices(disturbed.works, disturbed.weights, k=PER_ROUND[kind]):
            outcome, about = disturb(writers.Trial(work, disturbed.root, disturbed.wholes[work.name], rng))
            counts[outcome] += 1
            if outcome not in GOOD:
                result.findings.append(f"{kind} {work.name}: {outcome}: {about}")
    return result
