"""Reports of evaluations: figures with intervals, and what is needed to trust and compare them. No torch."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models import __version__
from models.config import Config
from models.errors import PoseGPTError, SettingsError, one_line
from models.files import parse_json, read_bytes

COMPARABLE = ("data", "classifier")
"""Fingerprints that must agree before figures of two reports may be compared."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
HalfWidth = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Better = Literal["lower", "higher", "as real"]


class Estimate(Config):
    """A figure, with the half width of its 95 % interval where it was measured several times."""

    mean: Finite | None
    """None where the figure is not defined (no two motions of one action, say)."""
    half: HalfWidth | None = None
    """None where there is but one value."""
    n: Count = 1
    """Values averaged."""

    def overlaps(self, other: "Estimate") -> bool:
        """Whether both intervals share a value."""
        if self.mean is None or other.mean is None:
            return False
        return abs(self.mean - other.mean) <= (self.half or 0) + (other.half or 0)


class FigureInfo(Config):
    """What a figure means."""

    unit: str = ""
    """Unit, empty for shares and plain numbers."""
    better: Better
    """Which way is good."""
    meaning: str
    """One line."""


class Matrix(Config):
    """A matrix that is drawn as a picture."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[Finite, ...], ...]
    row_name: str
    column_name: str


BESIDE = ", real"
"""Ends the heading of a column that is shown in one cell with the column of that name."""


class Table(Config):
    """Rows with a name each, in an order that says something."""

    columns: tuple[str, ...]
    """Headings; the first is that of the names."""
    rows: tuple[tuple[str | float | None, ...], ...]
    """Cells; None where a figure is not defined."""


class Curve(Config):
    """Figures against a number."""

    x_name: str
    y_name: str
    series: dict[str, tuple[tuple[Finite, Finite], ...]]
    """Points (x, y) by name."""


class Setup(Config):
    """What a report records of how it was measured, beside the protocol's own settings."""

    seed: int = 0
    """All randomness follows from it."""
    fingerprints: dict[str, str] = Field(default_factory=dict)
    """Of data, checkpoint, ...: what was measured with what."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Which motions: split, number, longest piece."""


class Report(Config):
    """What an evaluation found."""

    format: Literal[1] = 1
    """Version of this layout."""
    protocol: str
    """fid, reconstruction, ..."""
    version: str = __version__
    """posegpt's."""
    seed: int
    """All randomness follows from it."""
    settings: dict[str, Any]
    """Everything else that decides the figures."""
    fingerprints: dict[str, str]
    """Of data, classifier, checkpoint, ...: what was measured with what."""
    counts: dict[str, Count]
    """Motions in and out, so that it shows that none was dropped."""
    infos: dict[str, FigureInfo]
    """Meaning of each figure."""
    figures: dict[str, dict[str, Estimate]]
    """Group (generated, real, ...) -> figure -> value."""
    notes: tuple[str, ...] = ()
    """What to know before believing the figures."""
    matrices: dict[str, Matrix] = Field(default_factory=dict)
    """To be drawn."""
    tables: dict[str, Table] = Field(default_factory=dict)
    """To be shown below the figures."""
    curves: dict[str, Curve] = Field(default_factory=dict)
    """To be drawn."""
    seconds: dict[str, Finite] = Field(default_factory=dict)
    """Time taken by each part; all else is the same in every run of one seed."""


def estimate(values: Iterable[float]) -> Estimate:
    """Mean of values with its 95 % interval by Student's t; values that are not finite make it undefined."""
    # A figure that is not defined for one value is not defined for the mean.
    array = np.array(list(values), float)
    if not len(array) or not np.isfinite(array).all():
        return Estimate(mean=None, n=len(array))
    if len(array) == 1:
        return Estimate(mean=float(array[0]))
    from scipy.stats import t

    # The interval of a mean of few values: Student's t, not the normal distribution.
    half = t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / math.sqrt(len(array))
    return Estimate(mean=float(array.mean()), half=float(half), n=len(array))


def estimates(rows: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
    """Estimates of figures that were measured several times, or once for each motion."""
    return {name: estimate(row[name] for row in rows) for name in rows[0]} if rows else {}


def ranges(rows: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
    """Figures of several sets with the range in which a single such set lies, 95 times of 100.

    Unlike the interval of a mean it does not shrink with the number of sets: one further set of real motion
    is compared with it.
    """
    found = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows], float)
        if not np.isfinite(values).all():
            found[name] = Estimate(mean=None)
            continue
        half = 1.96 * float(values.std(ddof=1)) if len(values) > 1 else None
        found[name] = Estimate(mean=float(values.mean()), half=half)
    return found


BOOTSTRAPS = 100
"""Draws of motions with replacement behind an interval of a figure that is measured once."""


def bootstrap(
    figures: Callable[[NDArray[np.int64]], Mapping[str, float]], n: int, seed: int
) -> dict[str, Estimate]:
    """Figures of a set of n motions with 1.96 standard errors, by draws of the motions with replacement.

    Args:
        figures: measures the motions at the places given.
        n: motions.
        seed: of the draws.
    """
    # The figure itself is that of the whole set; the draws only say how far chance moves it.
    rng = np.random.default_rng(seed)
    whole = figures(np.arange(n))
    draws = [figures(rng.integers(0, n, n)) for _ in range(BOOTSTRAPS)]
    found = {}
    for name, value in whole.items():
        if not math.isfinite(value):
            found[name] = Estimate(mean=None)
            continue
        half = 1.96 * float(np.nanstd([draw[name] for draw in draws], ddof=1))
        found[name] = Estimate(mean=value, half=half)
    return found


def read_reports(path: Path) -> dict[str, Report]:
    """Reports that `--json` printed, by protocol; raises PoseGPTError where the file holds none."""
    hint = "posegpt eval fid --out report.json"
    try:
        found = parse_json(read_bytes(path))
        reports = [Report.model_validate(one) for one in found.get("reports", [found])]
    except (ValueError, AttributeError, TypeError, SettingsError) as error:
        reason = one_line(error, 160)
        raise PoseGPTError(f"{path} is no report of posegpt eval: {reason}", hint) from error
    return {report.protocol: report for report in reports}


def check_comparable(a: Report, b: Report) -> None:
    """Raises PoseGPTError where figures of the two reports do not mean the same."""
    for name, x, y in (
        ("protocol", a.protocol, b.protocol),
        *((name, a.fingerprints.get(name), b.fingerprints.get(name)) for name in COMPARABLE),
        ("settings", _decisive(a), _decisive(b)),
    ):
        if x != y:
            raise PoseGPTError(
                f"the reports cannot be compared: {name} is {x} in the first and {y} in the second",
                "evaluate both with the same data, classifier and settings",
            )


def _decisive(report: Report) -> dict[str, Any]:
    """Settings that change what a figure means, and not what it is measured on or how precisely."""
    return {
        k: v for k, v in report.settings.items() if k not in ("repeats", "source", "sampling", "batch_size")
    }
