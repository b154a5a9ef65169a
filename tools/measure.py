"""How the package code reads, in numbers: tools/measure.py [FOLDER ...]; without folders, the three packages.

Counts what CONTRIBUTING.md asks for: short functions, comments that say why, few comprehensions, few
parameters, no file above 400 lines, no import circle (typing-only imports included).
"""

import ast
import io
import statistics
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("posegpt_cli", "models", "data")
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
BRANCHES = (
    ast.If,
    ast.For,
    ast.While,
    ast.IfExp,
    ast.ExceptHandler,
    ast.BoolOp,
    ast.comprehension,
    ast.Assert,
)
MAX_LINES, MAX_PARAMETERS, MAX_MODULES = 400, 6, 16


@dataclass
class Measures:
    """Counts over a set of files."""

    files: int = 0
    lines: int = 0
    code_lines: int = 0
    comment_lines: int = 0
    fmt_skips: int = 0
    nodes: int = 0
    comprehensions: int = 0
    functions: list[int] = field(default_factory=list)
    """Lines of each function, without its docstring."""
    branches: list[int] = field(default_factory=list)
    """Cyclomatic complexity of each function."""
    wide: list[str] = field(default_factory=list)
    """Functions with more than MAX_PARAMETERS parameters."""
    long: list[str] = field(default_factory=list)
    """Files of more than MAX_LINES lines."""
    crowded: list[str] = field(default_factory=list)
    """Folders of more than MAX_MODULES modules."""


def measure(files: list[Path]) -> Measures:
    """Measures of Python files."""
    found = Measures(files=len(files))
    for path in files:
        _measure_file(path, found)
    for folder in sorted({path.parent for path in files}):
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        if len(modules) > MAX_MODULES:
            found.crowded.append(f"{folder.relative_to(ROOT)}: {len(modules)}")
    return found


def _measure_file(path: Path, found: Measures) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    n_lines = len(text.splitlines())
    found.lines += n_lines
    if n_lines > MAX_LINES:
        found.long.append(f"{path.relative_to(ROOT)}: {n_lines}")

    docstring_lines = set(_docstring_lines(tree))
    code: set[int] = set()
    comments: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            found.fmt_skips += "fmt: skip" in token.string or "fmt: off" in token.string
            # Whole lines only: a remark behind code explains one value, not a paragraph.
            if not token.line[: token.start[1]].strip():
                comments.add(token.start[0])
        elif token.type not in (
            tokenize.NL,
            tokenize.NEWLINE,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.ENDMARKER,
        ):
            code.update(range(token.start[0], token.end[0] + 1))
    found.code_lines += len(code - docstring_lines)
    found.comment_lines += len(comments)

    for node in ast.walk(tree):
        found.nodes += 1
        found.comprehensions += isinstance(node, COMPREHENSIONS)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            _measure_function(node, f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", found)


def _measure_function(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str, found: Measures) -> None:
    parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    if sum(parameter.arg not in ("self", "cls") for parameter in parameters) > MAX_PARAMETERS:
        found.wide.append(name)
    has_docstring = ast.get_docstring(node) is not None and len(node.body) > 1
    first = node.body[1] if has_docstring else node.body[0]
    assert node.end_lineno is not None
    found.functions.append(node.end_lineno - first.lineno + 1)
    found.branches.append(1 + sum(isinstance(child, BRANCHES) for child in ast.walk(node)))


def _docstring_lines(tree: ast.Module) -> Iterator[int]:
    """Lines of docstrings, and of the strings below fields that say what they hold."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            assert node.end_lineno is not None
            yield from range(node.lineno, node.end_lineno + 1)


def import_graph() -> dict[str, set[str]]:
    """Which modules of the packages each module imports, inside functions and for typing too."""
    modules = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        graph[name] = {target for target in _imported(ast.parse(path.read_text()), modules) if target != name}
    return graph


def _imported(tree: ast.Module, modules: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in modules:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in modules else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import one another, directly or not."""
    reach = {name: _reachable(name, graph) for name in graph}
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach[other]))
        for name in graph
        if name in reach[name]
    }
    return [list(group) for group in sorted(groups)]


def _reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(graph[name])
    return seen


def main() -> None:
    folders = [Path(name).resolve() for name in sys.argv[1:]] or [ROOT / package for package in PACKAGES]
    files = sorted(
        path for folder in folders for path in ([folder] if folder.is_file() else folder.rglob("*.py"))
    )
    found = measure(files)
    lengths = sorted(found.functions)
    per_100 = 100 / max(1, found.code_lines)
    print(f"files                       {found.files} ({found.lines} lines, {found.code_lines} of code)")
    p90 = lengths[len(lengths) * 9 // 10]
    print(f"function lines              median {statistics.median(lengths):g}, p90 {p90}, max {lengths[-1]}")
    print(f"cyclomatic complexity       mean {statistics.mean(found.branches):.1f}")
    print(f"comment lines per 100       {found.comment_lines * per_100:.1f}   (at least 4)")
    print(f"comprehensions per 100      {found.comprehensions * per_100:.1f}   (at most 3.5)")
    print(f"AST nodes a code line       {found.nodes / max(1, found.code_lines):.1f}")
    print(f"fmt: skip                   {found.fmt_skips}   (at most 15)")
    print(f"more than {MAX_PARAMETERS} parameters      {len(found.wide)}   (at most 12)")
    print(f"files above {MAX_LINES} lines       {len(found.long)}   (0)")
    print(f"folders above {MAX_MODULES} modules    {len(found.crowded)}   (0)")
    found_circles = circles(import_graph())
    print(f"import circles              {len(found_circles)}   (0)")
    for line in [
        *found.wide,
        *found.long,
        *found.crowded,
        *(" <-> ".join(circle) for circle in found_circles),
    ]:
        print(f"  {line}")


if __name__ == "__main__":
    main()
