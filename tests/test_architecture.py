"""Who may import whom, what is shipped, and which modules stay light."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import models
import posegpt_cli
from tools import measure

ROOT = Path(__file__).parents[1]
PACKAGES = ("posegpt_cli", "models", "data")
LIGHT = (
    "models.config",
    "models.motion",
    "models.body.skeleton",
    "models.errors",
    "models.checkpoint",
    "data.actions",
    "data.preparing.prepare",
    "data.store",
    "data.dataset",
    "data.formats.load",
    "data.synthetic",
    "posegpt_cli.app",
)


def test_import_contracts_hold():
    lint = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout


def test_contracts_say_what_the_design_says():
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert set(linter["root_packages"]) == set(PACKAGES)
    layers, forbidden, *inside = linter["contracts"]
    assert layers["layers"] == ["posegpt_cli", "data", "models"]
    assert [contract["name"] for contract in inside] == [
        "layers inside models",
        "layers inside data",
        "layers inside posegpt_cli",
        "no command imports a command",
    ]
    assert set(forbidden["source_modules"]) == {"models", "data"}
    assert {"typer", "rich", "pyrender", "imageio"} <= set(forbidden["forbidden_modules"])


def test_no_circle_no_long_file_and_no_crowded_folder():
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    found = measure.measure(files)
    assert measure.circles(measure.import_graph()) == []
    assert found.long == []
    assert found.crowded == []


def test_the_wheel_holds_exactly_the_three_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": list(PACKAGES)}
    importable = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert importable - {"tests", "benchmarks"} == set(PACKAGES)


def test_light_modules_import_no_torch():
    heavy = "{'torch', 'smplx', 'pyrender', 'OpenGL', 'imageio', 'lightning_fabric'}"
    code = f"import sys, {', '.join(LIGHT)}; print(*({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""


@pytest.mark.parametrize("package", PACKAGES)
def test_each_module_says_in_its_first_line_what_lives_there(package):
    for path in (ROOT / package).rglob("*.py"):
        summary = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
        assert len(summary) > 10, path


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_do_not_print_or_read_the_environment_when_imported(package):
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name not in ("__init__.py", "__main__.py")
    ]
    for name in names:
        tree = ast.parse((ROOT / (name.replace(".", "/") + ".py")).read_text())
        for statement in tree.body:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                continue
            calls = [ast.unparse(node) for node in ast.walk(statement)]
            assert not [c for c in calls if c.startswith(("print(", "os.environ", "os.getenv"))], name


def test_one_version_everywhere():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {models.__version__}\n" in citation
    assert posegpt_cli.__version__ == models.__version__


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed_for_others(package):
    assert (ROOT / package / "py.typed").exists()
