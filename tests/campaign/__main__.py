"""Run the campaign: `python -m tests.campaign --minutes 30`. Exits with 1 if anything was found."""

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

SHARE_OF_INPUTS = 0.4
"""Of the time; the rest goes to the writers, whose trials take longer."""
PER_ROUND = 100
"""Damaged inputs of a reader in each round."""
GOOD = ("whole", "read", "refused")
Counts = dict[str, Counter[str]]
"""Reader or kind of disturbance -> outcome -> number."""


def main() -> int:
    """Read damaged inputs, then disturb writers; print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--folder", type=Path, help="where to work: a folder on a disk, or in memory")
    parser.add_argument("--out", type=Path, help="where to write the table and what was found")
    parser.add_argument("--sum", type=Path, help="JSON file of counts: those of earlier runs are added to")
    options = parser.parse_args()

    import torch

    # Children are forked: other threads would not come along, and might hold a lock just then.
    torch.set_num_threads(1)
    begun = time.monotonic()
    seconds = options.minutes * 60
    with tempfile.TemporaryDirectory(prefix="campaign-", dir=options.folder) as folder:
        inputs, found = _read_inputs(Path(folder) / "inputs", options.seed, begun + SHARE_OF_INPUTS * seconds)
        writers, more = _disturb_writers(Path(folder) / "writers", options.seed, begun + seconds)
    findings = found + more

    minutes = (time.monotonic() - begun) / 60
    seeds = [options.seed]
    if options.sum:
        minutes, seeds = _add_to(options.sum, minutes, seeds, inputs, writers)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    said = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} runs, seeds {', '.join(map(str, seeds))}"
    about = f"{minutes:.0f} minutes on {machine}, Python {platform.python_version()}; {said}."
    table = _table(inputs, writers, about)
    print(table)
    for finding in findings[:50]:
        print(f"- {finding}")
    if options.out:
        options.out.write_text(table + "\n" + "".join(f"- {finding}\n" for finding in findings))
    return 1 if findings else 0


def _add_to(
    path: Path, minutes: float, seeds: list[int], inputs: Counts, writers: Counts
) -> tuple[float, list[int]]:
    """Add the counts that a file holds, and keep the sums there; minutes and seeds of all runs."""
    if path.exists():
        earlier = json.loads(path.read_text())
        minutes += earlier["minutes"]
        seeds = earlier["seeds"] + seeds
        for counts, more in ((inputs, earlier["inputs"]), (writers, earlier["writers"])):
            for name, outcomes in more.items():
                counts.setdefault(name, Counter()).update(outcomes)
    content = {"minutes": minutes, "seeds": seeds, "inputs": inputs, "writers": writers}
    path.write_text(json.dumps(content, indent=1))
    return minutes, seeds


def _read_inputs(root: Path, seed: int, until: float) -> tuple[Counts, list[str]]:
    from tests.campaign.inputs import attack, make_subjects

    counts: Counts = {}
    findings: list[str] = []
    subjects = make_subjects(root)
    round_ = 0
    while time.monotonic() < until:
        for subject in subjects:
            outcome = attack(subject, root, PER_ROUND, seed + round_)
            counts.setdefault(subject.name, Counter()).update(outcome.counts)
            findings += outcome.findings
        round_ += 1
    return counts, findings


def _disturb_writers(root: Path, seed: int, until: float) -> tuple[Counts, list[str]]:
    from tests.campaign import writers
    from tests.campaign.works import make_works

    kinds: dict[str, Callable[[writers.Trial], tuple[str, str]]] = {
        "kill": writers.kill,
        "signal": writers.interrupt,
        "full disk": writers.fill,
        "pair": writers.pair,
    }
    rng = random.Random(seed)
    works = make_works(root / "sources")
    wholes = {work.name: writers.undisturbed(work, root) for work in works}
    counts: Counts = {kind: Counter() for kind in kinds}
    findings: list[str] = []
    # Cheap targets are disturbed more often than dear ones, so that the trials are many.
    weights = [1 / wholes[work.name].seconds for work in works]
    while time.monotonic() < until:
        kind = rng.choices(list(kinds), (5, 1, 1.5, 2.5))[0]
        (work,) = rng.choices(works, weights)
        outcome, about = kinds[kind](writers.Trial(work, root, wholes[work.name], rng))
        counts[kind][outcome] += 1
        if outcome not in GOOD:
            findings.append(f"{kind} {work.name}: {outcome}: {about}")
    return counts, findings


def _table(inputs: Counts, writers: Counts, about: str) -> str:
    """Markdown."""
    lines = [about, ""]
    lines += ["| writers | trials | whole | refused | faults |", "|---|---|---|---|---|"]
    for name, counts in writers.items():
        lines.append(_row(name, counts, ("whole", "refused")))
    lines += ["", "| damaged inputs | trials | read | refused | faults |", "|---|---|---|---|---|"]
    total: Counter[str] = Counter()
    for name, counts in inputs.items():
        lines.append(_row(name, counts, ("read", "refused")))
        total.update(counts)
    lines.append(_row("all", total, ("read", "refused")))
    return "\n".join(lines)


def _row(name: str, counts: Counter[str], shown: tuple[str, str]) -> str:
    faults = ", ".join(f"{count} {kind}" for kind, count in counts.items() if kind not in GOOD) or "0"
    first, second = shown
    return f"| {name} | {counts.total():,} | {counts[first]:,} | {counts[second]:,} | {faults} |"


if __name__ == "__main__":
    sys.exit(main())
