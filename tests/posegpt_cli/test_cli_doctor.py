"""`posegpt doctor`: says what works, and fails where something that is needed does not."""

import json
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from models.errors import PoseGPTError
from posegpt_cli.commands import doctor
from posegpt_cli.commands.doctor import Check
from posegpt_cli.packages import foreign_packages


@pytest.fixture
def checks(monkeypatch):
    """Let the doctor run these checks only."""

    def use(**looks):
        monkeypatch.setattr(doctor, "_CHECKS", looks)

    return use


def test_all_well(posegpt, checks):
    checks(
        python=doctor._check_python, packages=doctor._check_own_packages, libraries=doctor._check_libraries
    )
    ran = posegpt("doctor", "--json")
    assert ran.code == 0, ran.out
    report = json.loads(ran.out)
    assert report["ok"] is True
    assert [check["state"] for check in report["checks"]] == ["ok"] * 3
    assert "torch" in report["checks"][2]["found"]
    assert ran.err.startswith("next: posegpt sample")


def test_something_needed_is_broken(posegpt, checks):
    checks(
        a=lambda name: Check(name, "warning", "so so", "do this"),
        b=lambda name: Check(name, "broken", "", "do that"),
    )
    ran = posegpt("doctor")
    assert ran.code == 1
    assert ran.err.splitlines() == ["warning: a: do this", "broken: b: do that"]


def test_a_warning_alone_is_no_failure(posegpt, checks):
    checks(a=lambda name: Check(name, "warning", "so so", "do this"))
    assert posegpt("doctor").code == 0


def test_what_a_check_raises_is_a_finding(posegpt, checks):
    def with_hint(name):
        raise PoseGPTError("no body", "give one")

    def without(name):
        raise ImportError("libX missing")

    checks(body=with_hint, other=without)
    found = json.loads(posegpt("doctor", "--json").out)["checks"]
    assert (found[0]["state"], found[0]["found"], found[0]["fix"]) == ("broken", "no body", "give one")
    assert "libX missing" in found[1]["found"]


def test_a_missing_library_is_named(monkeypatch):
    real = doctor.version

    def without_roma(package):
        if package == "roma":
            raise PackageNotFoundError(package)
        return real(package)

    monkeypatch.setattr(doctor, "version", without_roma)
    check = doctor._check_libraries("libraries")
    assert (check.state, check.fix) == ("broken", "pip install roma")


def test_the_old_pyrender_is_noticed(monkeypatch):
    real = doctor.version
    monkeypatch.setattr(
        doctor, "version", lambda package: "0.1.45" if package == "pyrender" else real(package)
    )
    assert "pip uninstall -y pyrender" in doctor._check_libraries("libraries").fix


@pytest.mark.parametrize(
    ("found", "state"),
    [("3.10.9", "broken"), ("3.11.0", "ok"), ("3.13.7", "ok"), ("3.14.0", "ok"), ("3.15.0", "broken")],
)
def test_python_versions(monkeypatch, found, state):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: found)
    assert doctor._check_python("python").state == state


def test_foreign_packages_are_found(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "__init__.py").touch()
    home = doctor.Path(doctor.__file__).parents[2]
    assert foreign_packages(home) == {}
    for name in [name for name in sys.modules if name.partition(".")[0] == "data"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    assert foreign_packages(home) == {"data": str(tmp_path / "data")}


def test_device_body_and_ffmpeg_are_looked_at(monkeypatch):
    for name in ("device", "ffmpeg", "disk", "body", "opengl"):
        check = doctor._CHECKS[name](name)
        assert check.state in ("ok", "warning"), check
        assert check.found


def test_pytorch3d_is_optional_but_should_work(monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert doctor._check_torch3d("pytorch3d").state == "ok"

    # It is there, and does not load: that is worth a warning with what to do.
    monkeypatch.setattr(doctor, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    check = doctor._check_torch3d("pytorch3d")
    assert check.state == "warning" and "--renderer mesh" in check.fix
