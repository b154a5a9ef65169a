"""The contact sheet of what an evaluation found worst: a row of poses of each motion."""

from dataclasses import replace

import numpy as np

from data.synthetic import make_motion
from posegpt_cli.output.pictures import read_picture
from posegpt_cli.output.worst_sheet import draw_sheets


def test_every_motion_has_a_row_over_its_own_length(tmp_path):
    long = replace(make_motion("walk", 120), labels=("walk", "move", "style:happy"))
    short = replace(make_motion("walk", 12).resample(20.0), labels=("walk",))
    path = tmp_path / "worst.png"
    assert draw_sheets([path], [long, short]) == {"the worst": path}
    sheet = read_picture(path).astype(int)
    rows = np.array_split(sheet, 2)
    # Six poses each, of which the last is not the first but for the words below it.
    for row in rows:
        poses = np.array_split(row, 6, axis=1)
        assert np.abs(poses[0][60:200, :238] - poses[-1][60:200, -238:]).max() > 40
    assert draw_sheets([], [long]) == {}
