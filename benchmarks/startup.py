"""How fast the command line answers, beside the same command with every import at the top.

The plain way imports torch, smplx, pyrender, scipy and matplotlib first, as scripts do. Both ways run in
turn, each time in a new process. The best times are compared in processor seconds, which other programs
disturb least.

    python -m benchmarks.startup [--rounds 3]
"""

import argparse
import resource
import subprocess
import sys

from benchmarks.table import Row, add_options, finish

PLAIN = """
import sys, types
window = sys.modules["pyrender.viewer"] = types.ModuleType("pyrender.viewer")
window.Viewer = None  # it would load X libraries
import matplotlib.pyplot, pyrender, scipy.spatial.transform, smplx, torch
"""
RUN = """
from posegpt_cli.__main__ import main
sys.exit(main())
"""
COMMANDS = (["--help"], ["actions"], ["sample", "--help"])
HELP_SECONDS = 1 / 3
"""What `posegpt --help` may take."""
LEAST_RATIO = 5.0


def best_seconds(commands: list[list[str]], rounds: int) -> list[float]:
    """The best time of each command, all of them in turn. Raises CalledProcessError if one fails."""
    seconds: list[list[float]] = [[] for _ in commands]
    for _ in range(rounds):
        for command, found in zip(commands, seconds, strict=True):
            before = _spent_by_children()
            subprocess.run(command, check=True, capture_output=True)
            found.append(_spent_by_children() - before)
    return [min(found) for found in seconds]


def _spent_by_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    add_options(parser)
    options = parser.parse_args()
    python = [sys.executable, "-c"]
    rows = []
    plain, ours = best_seconds([[*python, PLAIN], [*python, "import posegpt_cli.app"]], options.rounds)
    rows.append(Row("start: import", "s", ours, plain, LEAST_RATIO))
    for words in COMMANDS:
        commands = [[*python, PLAIN + RUN, *words], [sys.executable, "-m", "posegpt_cli", *words]]
        plain, ours = best_seconds(commands, options.rounds)
        bound = HELP_SECONDS if words == ["--help"] else None
        rows.append(Row(f"start: posegpt {' '.join(words)}", "s", ours, plain, LEAST_RATIO, bound))
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
