"""Without what only POSIX has, preparing data starts and works."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import os, sys, warnings
for module in ("fcntl", "resource", "pwd", "termios"):
    sys.modules[module] = None
for name in ("getuid", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)
warnings.simplefilter("ignore")  # filelock says that its locks are weaker then
from pathlib import Path
import posegpt_cli.app, posegpt_cli.commands.prepare
from data.preparing.prepare import prepare
from data.preparing.settings import PrepareSettings
report = prepare(PrepareSettings(bvh=Path(sys.argv[1]), out=Path(sys.argv[2])))
print(report.converted)
"""


def test_prepare_needs_no_posix(tmp_path):
    cases = ROOT / "tests" / "cases" / "reference"
    ran = subprocess.run(
        [sys.executable, "-c", CODE, str(cases), str(tmp_path / "out")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.stdout.strip() == "1", ran.stderr
