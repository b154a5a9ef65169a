"""The entry of `posegpt` and of `python -m posegpt_cli`: runs if `models` and `data` are ours."""

import sys
from pathlib import Path

from posegpt_cli.packages import describe_foreign, foreign_packages


def main() -> int:
    """Run the command line in sys.argv and return its exit code."""
    if foreign := foreign_packages(Path(__file__).parents[1]):
        message, hint = describe_foreign(foreign)
        print(f"error: {message}\nhint: {hint}", file=sys.stderr)
        return 1
    from posegpt_cli.app import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
