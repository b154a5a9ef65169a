"""What the data package pulls in."""

import subprocess
import sys
from pathlib import Path

import data


def test_workers_start_without_torch():
    folder = Path(data.__file__).parent
    modules = ", ".join(f"data.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__")
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
