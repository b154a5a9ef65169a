"""Reports of evaluations as a table on the terminal, and as .html, .md or .png with plots."""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.evaluation.report import BESIDE, Curve, Estimate, Matrix, Report, Table
from models.files import write_atomically
from posegpt_cli.console import say, show_result, show_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REPORT_SUFFIXES = (".html", ".md", ".png", ".json")
_MOST_COLUMNS = 5
"""Groups side by side; more stand below each other."""
_NARROW = 3
"""A matrix of fewer columns is a table, not a picture."""


def report_files(paths: Sequence[Path]) -> list[Path]:
    """The files that reports to these paths become: beside a .md its plots."""
    plots = [_plots_of(path) for path in paths if path.suffix.lower() == ".md"]
    return [*paths, *(path for path in plots if path not in paths)]


def show_report(report: Report) -> None:
    """Figures on stdout; what they were measured with and on below them."""
    header, rows = figure_table(report)
    show_table(header, rows, title=f"{report.protocol} (seed {report.seed})")
    for name, table in report.tables.items():
        show_table(*_table_cells(table), title=name)
    for line in footer(report):
        show_result(line)
    if report.seconds:
        say("time: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.seconds.items()))


def write_reports(path: Path, reports: Sequence[Report], pictures: Mapping[str, Path] | None = None) -> None:
    """Write reports to one file, by its extension: .html, .md (with .png beside it), .png or .json.

    What exists is replaced. Raises PoseGPTError if the file cannot be written.

    Args:
        path: the file.
        reports: what it says.
        pictures: further pictures by title, which .html holds and .md links to.
    """
    pictures = pictures or {}
    suffix = path.suffix.lower()
    if suffix == ".html":
        content = to_html(reports, pictures).encode()
    elif suffix == ".png":
        content = _stacked([picture(report) for report in reports])
    elif suffix == ".json":
        content = to_json(reports).encode()
    else:
        plots = _plots_of(path)
        links = {name: picture.name for name, picture in pictures.items()}
        content = to_markdown(reports, {"plots": plots.name} | links).encode()
        write_atomically(plots, _stacked([picture(report) for report in reports]), force=True)
    write_atomically(path, content, force=True)


def _plots_of(path: Path) -> Path:
    """Where the plots of a .md lie."""
    return path.with_suffix(".png")


def to_json(reports: Sequence[Report]) -> str:
    """One report as it is, several as {"reports": [...]}."""
    import json

    return json.dumps(as_json(reports), indent=1, allow_nan=False)


def as_json(reports: Sequence[Report]) -> dict[str, Any]:
    dumped = [report.model_dump(mode="json") for report in reports]
    return dumped[0] if len(dumped) == 1 else {"reports": dumped}


def figure_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the figures; a figure that a group does not have is a dash."""
    groups = list(report.figures)

    def cell(group: str, name: str) -> str:
        found = report.figures[group].get(name)
        return format_estimate(found) if found else "–"

    def titled(name: str) -> str:
        unit = report.infos[name].unit
        return f"{name} ({unit})" if unit else name

    # Groups are columns as long as they fit; then they become rows.
    names = [name for name in report.infos if any(name in figures for figures in report.figures.values())]
    if len(groups) <= _MOST_COLUMNS:
        rows = [[titled(n), *(cell(g, n) for g in groups), report.infos[n].better] for n in names]
        return ["figure", *groups, "better"], rows
    return ["", *map(titled, names)], [[g, *(cell(g, n) for n in names)] for g in groups]


def footer(report: Report) -> list[str]:
    """Counts, settings, fingerprints and notes, one a line."""
    lines = []
    for name in ("counts", "fingerprints", "settings"):
        values = getattr(report, name)
        lines.append(f"{name}: " + ", ".join(f"{key} {_plain(value)}" for key, value in values.items()))
    return [*lines, *(f"note: {note}" for note in report.notes)]


def format_estimate(value: Estimate) -> str:
    """`12.3 ± 0.4`: as many digits as the interval makes sense of; four where there is none."""
    if value.mean is None:
        return "undefined"
    if not value.half:
        return f"{value.mean:.4g}"

    # Two digits of the interval: more would be noise.
    digits = min(6, max(0, 1 - math.floor(math.log10(value.half))))
    return f"{value.mean:.{digits}f} ± {value.half:.{digits}f}"


def to_html(reports: Sequence[Report], pictures: Mapping[str, Path]) -> str:
    """One page that needs nothing else."""
    parts = []
    for report in reports:
        header, rows = figure_table(report)
        parts.append(f"<h1>posegpt eval {html.escape(report.protocol)}</h1>")
        parts.append(_html_table(header, rows))
        parts.append(_html_table(["figure", "meaning"], [[n, i.meaning] for n, i in report.infos.items()]))
        for name, matrix in _narrow(report).items():
            parts.append(f"<h2>{html.escape(name)}</h2>" + _html_table(*_matrix_table(matrix)))
        for name, table in report.tables.items():
            parts.append(f"<h2>{html.escape(name)}</h2>" + _html_table(*_table_cells(table)))
        parts.append(_html_picture(f"plots of {report.protocol}", picture(report)))
        parts += [f"<p>{html.escape(line)}</p>" for line in (*footer(report), f"posegpt {report.version}")]
    for name, path in pictures.items():
        parts.append(f"<h2>{html.escape(name)}</h2>" + _html_picture(name, path.read_bytes()))
    return (
        f"<!doctype html>\n<meta charset=utf-8>\n<title>posegpt eval</title>\n<style>{_STYLE}</style>\n"
        + ("\n".join(parts) + "\n")
    )


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .9em .2em 0;text-align:left;"
    "border-bottom:1px solid #ddd}img{max-width:100%}p{margin:.2em 0;color:#444}"
)


def _html_picture(name: str, content: bytes) -> str:
    encoded = base64.b64encode(content).decode()
    return f'<img alt="{html.escape(name)}" src="data:image/png;base64,{encoded}">'


def to_markdown(reports: Sequence[Report], pictures: Mapping[str, str]) -> str:
    """Tables, and links to the files of the pictures, by their titles."""
    parts = []
    for report in reports:
        header, rows = figure_table(report)
        parts.append(f"# posegpt eval {report.protocol}\n\n{_markdown_table(header, rows)}")
        parts += [
            f"## {name}\n\n{_markdown_table(*_matrix_table(matrix))}"
            for name, matrix in _narrow(report).items()
        ]
        for name, table in report.tables.items():
            parts.append(f"## {name}\n\n{_markdown_table(*_table_cells(table))}")
        parts.append("\n".join(f"- {line}" for line in (*footer(report), f"posegpt {report.version}")))
    links = [f"![{name}]({file})" for name, file in pictures.items()]
    return "\n\n".join([*parts, *links]) + "\n"


def picture(report: Report) -> bytes:
    """PNG of all figures as bars with their intervals, then curves and matrices."""
    # Bars and curves share a grid of small plots; matrices take the whole width below them.
    from matplotlib.figure import Figure

    names = [n for n in report.infos if sum(n in f for f in report.figures.values()) > 0]
    matrices = {name: m for name, m in report.matrices.items() if len(m.columns) >= _NARROW}
    n_small, columns = len(names) + len(report.curves), 4
    small_rows = -(-n_small // columns)
    bar_height = 0.9 + 0.28 * len(report.figures)
    heights = [bar_height] * small_rows + [8.0] * len(matrices)
    heights += [0.6 + 0.24 * len(table.rows) for table in report.tables.values()]
    figure = Figure(figsize=(13, sum(heights) + 0.6), layout="constrained", dpi=100)
    figure.suptitle(f"posegpt eval {report.protocol}", ha="left", x=0.01)
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    for k, name in enumerate(names):
        _draw_bars(figure.add_subplot(grid[k // columns, k % columns]), report, name, k % columns == 0)
    for k, (name, curve) in enumerate(report.curves.items(), len(names)):
        _draw_curve(figure.add_subplot(grid[k // columns, k % columns]), name, curve)
    for k, (name, matrix) in enumerate(matrices.items()):
        _draw_matrix(figure, figure.add_subplot(grid[small_rows + k, :]), name, matrix)
    for k, (name, table) in enumerate(report.tables.items(), small_rows + len(matrices)):
        _draw_table(figure.add_subplot(grid[k, :]), name, table)
    return _png(figure)


def _draw_bars(axes: "Axes", report: Report, name: str, with_names: bool) -> None:
    groups = list(report.figures)
    values = [report.figures[group].get(name) for group in groups]
    for place, value in enumerate(values):
        if value is not None and value.mean is not None:
            axes.barh(place, value.mean, xerr=value.half or None, color=f"C{place % 10}", height=0.7)
    axes.set_yticks(range(len(groups)), groups if with_names else [""] * len(groups), fontsize=8)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=8)
    unit = report.infos[name].unit
    axes.set_title(f"{name} ({unit})" if unit else name, fontsize=9)


def _draw_curve(axes: "Axes", name: str, curve: Curve) -> None:
    for series, points in curve.series.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=series)
    axes.set_xlabel(curve.x_name, fontsize=8)
    axes.set_ylabel(curve.y_name, fontsize=8)
    axes.set_ylim(bottom=0)
    axes.set_title(name, fontsize=9)
    axes.tick_params(labelsize=8)
    if len(curve.series) > 1:
        axes.legend(fontsize=7)


def _draw_matrix(figure: "Figure", axes: "Axes", name: str, matrix: Matrix) -> None:
    image = axes.imshow(matrix.values, cmap="Blues", vmin=0, aspect="auto")

    # Small type for long axes, so that labels do not run into each other.
    size = max(4, min(9, 320 // max(len(matrix.rows), 1)))
    axes.set_xticks(range(len(matrix.columns)), matrix.columns, rotation=90, fontsize=size)
    axes.set_yticks(range(len(matrix.rows)), matrix.rows, fontsize=size)
    axes.set_xlabel(matrix.column_name)
    axes.set_ylabel(matrix.row_name)
    axes.set_title(name)
    figure.colorbar(image, ax=axes, fraction=0.03)


def _draw_table(axes: "Axes", name: str, table: Table) -> None:
    header, rows = _table_cells(table)
    axes.set_axis_off()
    axes.set_title(name, fontsize=9)
    drawn = axes.table(rows, colLabels=header, loc="upper center", edges="horizontal", cellLoc="left")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(7)
    drawn.auto_set_column_width(list(range(len(header))))


def _png(figure: "Figure") -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _stacked(pictures: Sequence[bytes]) -> bytes:
    """Several PNGs as one, below each other."""
    if len(pictures) == 1:
        return pictures[0]
    from PIL import Image

    # One below the other, on white where they are narrower than the widest.
    images = [Image.open(io.BytesIO(content)).convert("RGB") for content in pictures]
    whole = Image.new("RGB", (max(i.width for i in images), sum(i.height for i in images)), "white")
    top = 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height
    content = io.BytesIO()
    whole.save(content, format="png")
    return content.getvalue()


def _narrow(report: Report) -> dict[str, Matrix]:
    return {name: matrix for name, matrix in report.matrices.items() if len(matrix.columns) < _NARROW}


def _table_cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Header and rows; what is not defined is a dash, what real motion has stands behind a stroke."""
    header = [name for name in table.columns if not name.endswith(BESIDE)]
    rows = []
    for row in table.rows:
        cells = dict(zip(table.columns, map(_cell, row), strict=True))
        shown = []
        for name in header:
            real = cells.get(name + BESIDE)
            shown.append(f"{cells[name]} / {real}" if real else cells[name])
        rows.append(shown)
    return [f"{name} / real" if name + BESIDE in table.columns else name for name in header], rows


def _cell(value: str | float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if float(value).is_integer() and value > 1 else f"{value:.2f}"


def _matrix_table(matrix: Matrix) -> tuple[list[str], list[list[str]]]:
    rows = [[n, *(f"{v:.4g}" for v in values)] for n, values in zip(matrix.rows, matrix.values, strict=True)]
    return [matrix.row_name, *matrix.columns], rows


def _html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + line(header, "th") + "".join(line(row, "td") for row in rows) + "</table>"


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{k} {_plain(v)}" for k, v in value.items()) + ")"
    if isinstance(value, list | tuple):
        return "/".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
