"""The entry of `posegpt` and of `python -m posegpt_cli`: makes sure that `models` and `data` are ours."""

import io
import os
import sys
from pathlib import Path

from posegpt_cli.leaving import INTERRUPTED, handle_signals, leave
from posegpt_cli.packages import describe_foreign, foreign_packages


def main() -> int:
    """Run the command line in sys.argv and return its exit code."""
    _open_streams()
    home = Path(__file__).parents[1]
    if foreign_packages(home):
        # `python -m` searches the working folder first, and PYTHONPATH comes before the installed packages.
        sys.path.insert(0, str(home))
    if foreign := foreign_packages(home):
        message, hint = describe_foreign(foreign)
        print(f"error: {message}\nhint: {hint}", file=sys.stderr)
        return 1
    from posegpt_cli.app import main as run

    handle_signals()
    code = run()
    if code in INTERRUPTED:
        leave(code)
    return code


def _open_streams() -> None:
    """Replace closed streams by the null device, and characters that stdout cannot show by `?`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
