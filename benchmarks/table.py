"""Rows of benchmarks, their table, and the machine they were measured on."""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

COLUMNS = ("what", "plain way", "posegpt", "ratio", "target")


@dataclass(frozen=True)
class Row:
    """One figure, beside the plain way's from the same run where there is one."""

    what: str
    unit: str
    """A rate (frames/s) is better where it is larger, all else (s, ms, MB, %) where it is smaller."""
    ours: float
    plain: float | None = None
    least_ratio: float | None = None
    """Target: how many times better than the plain way."""
    bound: float | None = None
    """Target: what our own figure has to reach."""
    note: str = ""
    """What else to say of it."""

    @property
    def is_rate(self) -> bool:
        return self.unit.endswith("/s")

    @property
    def ratio(self) -> float | None:
        """How many times better than the plain way."""
        if self.plain is None:
            return None
        return self.ours / self.plain if self.is_rate else self.plain / self.ours

    @property
    def is_reached(self) -> bool:
        """Whether no target is missed."""
        if self.least_ratio is not None and (self.ratio is None or self.ratio < self.least_ratio):
            return False
        return self.bound is None or (self.ours >= self.bound if self.is_rate else self.ours <= self.bound)

    @property
    def cells(self) -> tuple[str, ...]:
        """What the table shows, column after column."""
        targets = [f"{self.least_ratio:g} x"] if self.least_ratio is not None else []
        if self.bound is not None:
            targets.append(f"{'at least' if self.is_rate else 'at most'} {_number(self.bound)} {self.unit}")
        return (
            f"{self.what} ({self.note})" if self.note else self.what,
            "" if self.plain is None else f"{_number(self.plain)} {self.unit}",
            f"{_number(self.ours)} {self.unit}",
            "" if self.ratio is None else f"{self.ratio:.2f} x",
            ", ".join(targets) + ("" if self.is_reached else " (missed)"),
        )


def add_options(parser: argparse.ArgumentParser, threads: int | None = None) -> None:
    """The options that benchmarks share; `threads` is the default where a benchmark computes with torch."""
    parser.add_argument("--rows", type=Path, help="append the rows to this file, as JSON, one a line")
    if threads is not None:
        parser.add_argument("--threads", type=int, default=threads)


def finish(rows: Sequence[Row], options: argparse.Namespace) -> int:
    """Show the rows, keep them where --rows says, and return the exit code: 1 where a target is missed."""
    print(plain_table(rows))
    if options.rows:
        with options.rows.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
    missed = [row.what for row in rows if not row.is_reached]
    print(f"missed: {', '.join(missed)}" if missed else "all targets reached")
    return 1 if missed else 0


def read_rows(path: Path) -> list[Row]:
    """The rows that `finish` kept."""
    return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def plain_table(rows: Sequence[Row]) -> str:
    """Columns for a terminal."""
    lines = [COLUMNS, *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if k in (0, len(COLUMNS) - 1) else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def markdown(rows: Sequence[Row]) -> str:
    """The table in Markdown."""
    lines = [COLUMNS, ("---", "---:", "---:", "---:", "---"), *(row.cells for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def describe_machine() -> str:
    """Processor, cores, memory and versions; never a host's name."""
    usable, there = len(os.sched_getaffinity(0)), os.cpu_count()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{_cpu_model()}, {usable} of {there} cores, {memory:.0f} GiB; {platform.system()}, "
        f"Python {platform.python_version()}, torch {version('torch')}, numpy {version('numpy')}"
    )


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
