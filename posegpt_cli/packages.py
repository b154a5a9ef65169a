"""Whether Python finds our `models` and `data`, or somebody else's packages of these names."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

OURS = ("models", "data")


def foreign_packages(home: Path) -> dict[str, str]:
    """Our packages that Python would import from elsewhere than `home`, and where it found them."""
    found = {}
    for name in OURS:
        spec = importlib.util.find_spec(name)
        # A package has folders, a module has a file, and a name that is nowhere has no spec.
        places = list(spec.submodule_search_locations or [spec.origin or ""]) if spec else []
        if [Path(place).resolve() for place in places] != [(home / name).resolve()]:
            found[name] = ", ".join(places) or "nowhere"
    return found


def describe_foreign(foreign: Mapping[str, str]) -> tuple[str, str]:
    """Message and hint about packages that are not ours."""
    # Where each was found tells what to move or uninstall.
    places = "; ".join(f"'{name}' from {place}" for name, place in foreign.items())
    return (
        f"Python imports {places} instead of posegpt's own",
        "clear PYTHONPATH, or install posegpt in a virtual environment of its own",
    )
