"""Run the campaign: `python -m tests.campaign --minutes 30`. Exits with 1 if anything was found."""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.campaign.rounds import GOOD, Result, run_rounds


def main() -> int:
    """Run rounds in one or more workers; print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--jobs", type=int, default=1, help="workers at once, each with a seed of its own")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--folder", type=Path, help="where to work: a folder on a disk")
    parser.add_argument("--out", type=Path, help="where to write the table and what was found")
    parser.add_argument("--sum", type=Path, help="JSON file of counts: those of earlier runs are added to")
    options = parser.parse_args()

    begun = time.monotonic()
    seeds = list(range(options.seed, options.seed + options.jobs))
    spawn = multiprocessing.get_context("spawn")
    result = Result()
    with (
        tempfile.TemporaryDirectory(prefix="campaign-", dir=options.folder) as folder,
        ProcessPoolExecutor(options.jobs, mp_context=spawn) as pool,
    ):
        parts = [pool.submit(run_rounds, Path(folder, str(s)), s, options.minutes * 60) for s in seeds]
        for part in parts:
            result.add(part.result())

    minutes = (time.monotonic() - begun) / 60
    if options.sum:
        minutes, seeds = _add_to(options.sum, minutes, seeds, result)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    said = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    about = f"{minutes:.0f} minutes on {machine}, Python {platform.python_version()}; {said}."
    table = _table(result, about)
    print(table)
    for finding in result.findings[:50]:
        print(f"- {finding}")
    if options.out:
        options.out.write_text(table + "\n" + "".join(f"- {finding}\n" for finding in result.findings))
    return 1 if result.findings else 0


def _add_to(path: Path, minutes: float, seeds: list[int], result: Result) -> tuple[float, list[int]]:
    """Add the counts that a file holds, and keep the sums there; minutes and seeds of all runs."""
    if path.exists():
        earlier = json.loads(path.read_text())
        minutes += earlier["minutes"]
        seeds = earlier["seeds"] + seeds
        result.add(Result(*({name: Counter(of) for name, of in earlier[key].items()} for key in _PARTS)))
    content = {"minutes": minutes, "seeds": seeds} | {key: getattr(result, key) for key in _PARTS}
    path.write_text(json.dumps(content, indent=1))
    return minutes, seeds


_PARTS = ("inputs", "writers")
"""What is summed up over several runs."""


def _table(result: Result, about: str) -> str:
    """Markdown."""
    lines = [about, ""]
    lines += ["| writers | trials | whole | refused | faults |", "|---|---|---|---|---|"]
    for name, counts in result.writers.items():
        lines.append(_row(name, counts, ("whole", "refused")))
    lines += ["", "| damaged inputs | trials | read | refused | faults |", "|---|---|---|---|---|"]
    total: Counter[str] = Counter()
    for name, counts in result.inputs.items():
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
