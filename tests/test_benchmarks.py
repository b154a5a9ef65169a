"""Benchmarks: their rows and table, what a process is measured by, and a small run of those of load."""

import argparse
import sys
from dataclasses import replace

import pytest

from benchmarks import __main__ as runner
from benchmarks import load
from benchmarks.table import Row, finish, markdown, plain_table, read_rows


@pytest.mark.parametrize(
    ("row", "ratio", "is_reached"),
    [
        (Row("rate", "frames/s", ours=30, plain=10, least_ratio=3), 3.0, True),
        (Row("rate", "frames/s", ours=20, plain=10, least_ratio=3), 2.0, False),
        (Row("time", "s", ours=2, plain=10, least_ratio=4), 5.0, True),
        (Row("time", "s", ours=4, plain=10, least_ratio=4), 2.5, False),
        (Row("bound", "ms", ours=32, bound=33), None, True),
        (Row("bound", "ms", ours=34, bound=33), None, False),
        (Row("rate bound", "pictures/s", ours=99, bound=100), None, False),
        (Row("both", "s", ours=1, plain=10, least_ratio=2, bound=0.5), 10.0, False),
        (Row("nothing to reach", "s", ours=1, plain=0.5), 0.5, True),
    ],
)
def test_ratios_say_how_much_better(row, ratio, is_reached):
    assert row.ratio == ratio
    assert row.is_reached == is_reached
    assert row.cells[-1].endswith("(missed)") != is_reached


def test_rows_are_kept_and_missed_targets_end_with_one(tmp_path, capsys):
    options = argparse.Namespace(rows=tmp_path / "rows.jsonl")
    good, bad = Row("good", "s", 1.0, 2.0, 2.0), Row("bad", "MB", 2000.0, bound=1536)
    assert finish([good], options) == 0
    assert finish([replace(bad, note="of two")], options) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "missed: bad"
    assert read_rows(options.rows) == [good, replace(bad, note="of two")]
    head, line, first, second = markdown(read_rows(options.rows)).splitlines()
    assert head.count("|") == line.count("|") == first.count("|") == 6
    assert second == "| bad (of two) |  | 2,000 MB |  | at most 1,536 MB (missed) |"
    head, first = plain_table([good]).splitlines()
    assert head.index("target") == first.index("2 x", first.index("2.00 x") + 1)


def test_a_process_is_measured_by_the_memory_of_its_own(tmp_path):
    grow = f"import time; b = bytearray(200 << 20); open({str(tmp_path / 'done')!r}, 'w'); time.sleep(0.2)"
    spent = load.spend([sys.executable, "-c", grow])
    assert 200 <= spent.peak < 250
    assert (tmp_path / "done").exists()
    with pytest.raises(RuntimeError, match="nobody expects"):
        load.spend([sys.executable, "-c", "raise SystemExit('nobody expects')"])


@pytest.mark.slow
def test_load_at_a_small_size(tmp_path, monkeypatch):
    sizes = ["--frames", "40000", "--clips", "20", "--minutes", "0.1", "--mesh-minutes", "0.05"]
    rows = tmp_path / "rows.jsonl"
    monkeypatch.setattr(sys, "argv", ["load", *sizes, "--folder", str(tmp_path), "--rows", str(rows)])
    load.main()
    found = read_rows(rows)
    assert len(found) == len(load.JOBS)
    assert all(20 < row.ours < 1000 for row in found)
    assert list(tmp_path.iterdir()) == [rows]


@pytest.mark.slow
def test_the_runner_writes_one_table(tmp_path, monkeypatch):
    monkeypatch.setitem(runner.BENCHMARKS, "startup", ["--rounds", "1"])
    out, kept = tmp_path / "results.md", tmp_path / "rows"
    kept.mkdir()
    finish([Row("prepare: measured before", "s", 1.0)], argparse.Namespace(rows=kept / "prepare.jsonl"))
    words = ["benchmarks", "--only", "startup", "--rows", str(kept), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    runner.main()
    table = out.read_text()
    assert "| start: posegpt sample --help |" in table and "| prepare: measured before |" in table
    assert [row.ratio > 2 for row in read_rows(kept / "startup.jsonl")] == [True] * 4
