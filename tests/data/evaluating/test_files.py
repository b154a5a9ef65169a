"""Folders of motion files of any system, as the evaluation reads them."""

import pytest

from data.evaluating.files import read_folder
from data.formats.settings import ReadingSettings
from data.formats.smpl_npz import write_smpl_npz
from data.synthetic import make_motion
from models.errors import PoseGPTError


def test_files_are_read_as_their_options_say(tmp_path):
    write_smpl_npz(tmp_path / "walk.npz", make_motion("walk", 30))
    plain = read_folder(tmp_path, needs_labels=False)
    faster = read_folder(tmp_path, reading=ReadingSettings(fps_in=60), needs_labels=False)
    assert (plain.motions[0].fps, faster.motions[0].fps) == (30, 60)
    assert plain.fingerprint != faster.fingerprint
    unchanged = read_folder(tmp_path, reading=ReadingSettings(), needs_labels=False)
    assert unchanged.fingerprint == plain.fingerprint


def test_a_folder_without_motion_is_refused(tmp_path):
    with pytest.raises(PoseGPTError, match="no motion files"):
        read_folder(tmp_path)
