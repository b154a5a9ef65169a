"""Labels from tables, file names and folders."""

from pathlib import Path

import pytest

from data.preparing.labels import actor_finder, default_labels, pattern_labeller, table_labeller
from models.errors import PoseGPTError


@pytest.fixture
def table(tmp_path):
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_csv(table):
    labels = table_labeller(
        table("l.csv", '\ufeffClip, labels\na01,walk|turn\nsub/b, bow ; greet;bow\n"c,1.bvh",run\nd,\n')
    )
    assert labels(Path("x/a01.bvh")) == ("walk", "turn")
    assert labels(Path("sub/b.bvh")) == ("bow", "greet")
    assert labels(Path("other/b.bvh")) is None
    assert labels(Path("c,1.bvh")) == ("run",)
    assert labels(Path("d.bvh")) == ()


def test_json(table):
    labels = table_labeller(table("l.json", '{"a": "walk", "b": ["run", "style:old"], "a/c": []}'))
    assert labels(Path("a.bvh")) == ("walk",)
    assert labels(Path("q/b.BVH")) == ("run", "style:old")
    assert labels(Path("a/c.bvh")) == ()
    assert labels(Path("z.bvh")) is None


def test_rows_that_name_no_clip(table):
    """A stem, a path, a path with suffix and a file name are names; `q/c` names another file than `c.bvh`."""
    rows = table_labeller(
        table("l.csv", "clip,labels\na,walk\nq/b,run\nq/c.bvh,run\nd.bvh,run\ntypo,run\nq/d,run\n")
    )
    clips = [Path("x/a.bvh"), Path("q/b.bvh"), Path("q/c.bvh"), Path("d.bvh")]
    assert rows.unmatched(clips) == ("typo", "q/d")
    assert rows.unmatched([]) == tuple(rows.rows)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.csv", "file,label\na,walk\n", "needs columns clip and labels, got file, label"),
        ("l.csv", "", "needs columns clip and labels, got none"),
        ("l.csv", "clip,labels\n", "holds no labels"),
        ("l.csv", b"\xff\xfe\x00", "no text file"),
        ("l.json", "{", "no JSON"),
        ("l.json", "[1]", "does not map clips to labels"),
        ("l.json", '{"a": 3}', "does not map clips to labels"),
        ("l.json", '{"a": [3]}', "does not map clips to labels"),
        ("l.json", "{}", "holds no labels"),
    ],
)
def test_faulty_tables(table, name, content, message):
    with pytest.raises(PoseGPTError, match=message):
        table_labeller(table(name, content))


def test_a_missing_table(tmp_path):
    with pytest.raises(PoseGPTError, match="cannot read") as caught:
        table_labeller(tmp_path / "none.csv")
    assert "the path of labels" in caught.value.hint


def test_patterns():
    labels = pattern_labeller(r"^(?P<action>[a-z]+)(_(?P<style>[a-z]+))?_\d+$")
    assert labels(Path("x/walk_old_01.bvh")) == ("walk", "style:old")
    assert labels(Path("walk_01.bvh")) == ("walk",)
    assert labels(Path("01.bvh")) is None
    assert pattern_labeller("(?P<action>jump)")(Path("xjumpx.bvh")) == ("jump",)


@pytest.mark.parametrize(
    ("pattern", "message"), [("(", "no regular expression"), ("(walk)", "no group named action")]
)
def test_faulty_patterns(pattern, message):
    with pytest.raises(PoseGPTError, match=message) as caught:
        pattern_labeller(pattern)
    assert "label_pattern" in caught.value.hint


def test_by_default_bandai_names_then_folders():
    assert default_labels(Path("data/dataset-1_bow_old_001.bvh")) == ("bow", "bend", "greet", "style:old")
    assert default_labels(Path("somersault/take1.bvh")) == ("somersault",)
    assert default_labels(Path("take1.bvh")) == ()


def test_actors():
    actor = actor_finder(r"HDM_(?P<actor>[a-z]+)_")
    assert actor(Path("x/HDM_bd_walk_001.amc")) == "bd" and actor(Path("x/walk.amc")) is None
    with pytest.raises(PoseGPTError, match="no group named actor"):
        actor_finder("HDM_([a-z]+)_")
    with pytest.raises(PoseGPTError, match="no regular expression"):
        actor_finder("(?P<actor>")
