"""Run every benchmark in a process of its own and write one table of all rows.

    python -m benchmarks [--only prepare sampling ...] [--threads 1] [--whole] [--rows DIR] [--out FILE]

--rows keeps the rows in a folder, as NAME.jsonl, so that --only can measure some again while the table still
holds all of them. `python -m benchmarks.NAME --rows DIR/NAME.jsonl` adds rows too; --only without a name just
writes the table.
"""

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.table import describe_machine, markdown, read_rows
from models.files import write_atomically

SMALL_LOAD = ["--frames", "500000", "--clips", "1000", "--minutes", "6", "--mesh-minutes", "1"]
BENCHMARKS: dict[str, list[str]] = {
    "startup": [],
    "prepare": [],
    "training": [],
    "sampling": [],
    "rendering": [],
    "rigs": [],
    "evaluation": ["--clips", "125", "--repeats", "5"],
    "load": SMALL_LOAD,
    "serving": [],
}
"""Module -> options; `python -m benchmarks.NAME` runs one alone, with more of them."""
WITH_THREADS = ("training", "sampling", "evaluation")


def measure(name: str, options: argparse.Namespace) -> int:
    """Run one benchmark into its file of rows and return its exit code."""
    rows = options.rows / f"{name}.jsonl"
    rows.unlink(missing_ok=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", "--rows", str(rows)]
    if name in WITH_THREADS:
        command += ["--threads", str(options.threads)]
    if not (name == "load" and options.whole):
        command += BENCHMARKS[name]
    print(f"\n{name}", flush=True)
    return subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": str(options.threads)}).returncode


def table(options: argparse.Namespace, load_average: float) -> str:
    """The machine, and the rows of all benchmarks that were measured."""
    found = [options.rows / f"{name}.jsonl" for name in BENCHMARKS]
    rows = {row.what: row for path in found if path.exists() for row in read_rows(path)}
    return (
        f"# Benchmarks\n\n`python -m benchmarks`, {datetime.date.today()}. {describe_machine()}.\n"
        f"Threads: {options.threads}; load average before: {load_average:.1f}. Of load, the plain way is a "
        f"tenth of the size, and seconds are of processors.\n\n{markdown([*rows.values()])}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--whole", action="store_true", help="load in full: about an hour")
    parser.add_argument("--rows", type=Path, help="folder of the rows (default: a temporary one)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.md"))
    options = parser.parse_args()
    load_average = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="posegpt-") as folder:
        options.rows = options.rows or Path(folder)
        options.rows.mkdir(parents=True, exist_ok=True)
        codes = [measure(name, options) for name in options.only]
        write_atomically(options.out, table(options, load_average).encode(), force=True)
    print(f"\n{options.out}")
    return max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main())
