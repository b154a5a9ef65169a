"""Khronos' own validator finds no fault in the .glb files that are written.

It is not a Python package: npm install gltf-validator, anywhere that node looks (NODE_PATH).
"""

import base64
import json
import re
import shutil
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from data.rigs.targets import TARGETS
from data.synthetic import make_motion
from posegpt_cli.output import RenderOptions, save_motion
from tests.data.rigging.box_man import box_man

CHARACTERS = Path(__file__).parents[1] / "data" / "characters"
VALIDATE = """
const validator = require('gltf-validator');
const bytes = new Uint8Array(require('fs').readFileSync(process.argv[1]));
const show = (found) => console.log(JSON.stringify(found.issues));
validator.validateBytes(bytes, { maxIssues: 1000 }).then(show);
"""
NODE = shutil.which("node")


@cache
def has_validator() -> bool:
    if NODE is None:
        return False
    return subprocess.run([NODE, "-e", "require('gltf-validator')"], capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_validator(), reason="needs npm's gltf-validator"),
]


def issues(path: Path) -> Counter[str]:
    """What the validator says of a file, errors and warnings by their codes."""
    assert NODE is not None
    ran = subprocess.run([NODE, "-e", VALIDATE, str(path)], capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)
    return Counter(message["code"] for message in found["messages"] if message["severity"] < 2)


@pytest.mark.parametrize("name", ["human-male", "kenney", "human-skeleton"])
def test_characters_come_back_with_no_fault_of_ours(name, tmp_path):
    rig = CHARACTERS / f"{name}.glb"
    motions = [make_motion("walk", 20), make_motion("run", 12)]
    save_motion(motions, tmp_path / "two.glb", RenderOptions(rig=str(rig)))
    assert issues(tmp_path / "two.glb") == issues(rig)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_named_rigs_are_valid(name, tmp_path):
    save_motion(make_motion("walk", 20), tmp_path / "walk.glb", RenderOptions(rig=name))
    assert not issues(tmp_path / "walk.glb")


def test_a_rig_with_its_parts_as_text_is_valid(tmp_path):
    man = box_man(100.0, {"scale": [0.01] * 3}, skin_scale=0.01).save(tmp_path / "man.gltf")
    save_motion(make_motion("walk", 20), tmp_path / "walk.glb", RenderOptions(rig=str(man)))
    assert issues(tmp_path / "walk.glb") <= issues(man)


@pytest.mark.parametrize("rig", [None, "human-skeleton", "kenney"])
def test_what_pages_hold_is_valid(rig, tmp_path):
    options = RenderOptions(rig=str(CHARACTERS / f"{rig}.glb") if rig else None)
    save_motion(make_motion("walk", 20), tmp_path / "walk.html", options)
    text = (tmp_path / "walk.html").read_text(encoding="utf-8")
    motion = re.search(r'id="motion">([^<]+)<', text)
    assert motion is not None
    (tmp_path / "walk.glb").write_bytes(base64.b64decode(motion[1]))
    expected = issues(Path(options.rig)) if options.rig else Counter()
    assert issues(tmp_path / "walk.glb") == expected
