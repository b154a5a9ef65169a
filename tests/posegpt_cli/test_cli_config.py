"""Options made from configs: preset, then file, then flags; what does not fit is named."""

import importlib
from typing import Any

import pytest
import yaml

from models.config import Config
from models.errors import PoseGPTError, SettingsError
from models.training.config import ClassifierRun, GPTRun, VQVAERun
from models.training.presets import PRESETS
from posegpt_cli.app import COMMANDS
from posegpt_cli.console import UsageError
from posegpt_cli.options.config_file import merge, read_config_file, switch_words
from posegpt_cli.options.fields import config_fields
from posegpt_cli.options.flags import FLAGS, with_flags_named
from posegpt_cli.options.from_config import Choices
from posegpt_cli.options.parsing import parse_length, parse_size
from posegpt_cli.options.picture import complete_options
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.training.original_spelling import original_spelling
from posegpt_cli.training.settling import SET_BY_DATA

PARAMETERS = ("n_frames", "model_dir")
"""Of functions of the library, which errors name; no config has them."""
FIELDS = {field.name: field for field in config_fields(VQVAERun)}


def resolve(preset="tiny", file=None, **flags):
    given = {FIELDS[name]: value for name, value in flags.items()}
    return Choices(VQVAERun, PRESETS["vqvae"][preset], file, given).resolve()


@pytest.fixture
def config_file(tmp_path):
    def write(values):
        path = tmp_path / "run.yaml"
        path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
        return path

    return write


def test_preset_then_file_then_flags(config_file):
    file = config_file({"seed": 3, "network": {"n_e": 64, "hid_dim": 32}})
    assert resolve().network.n_e == PRESETS["vqvae"]["tiny"]["network"]["n_e"]
    assert resolve(file=file).network.n_e == 64
    run = resolve(file=file, n_e=128, seed=4)
    assert (run.seed, run.network.n_e, run.network.hid_dim) == (4, 128, 32)
    assert run.network.n_layers == PRESETS["vqvae"]["tiny"]["network"]["n_layers"]


def test_a_written_config_reads_back(config_file):
    run = resolve("paper", seed=5)
    file = config_file(run.model_dump(mode="json"))
    assert resolve("tiny", file) == run


@pytest.mark.parametrize("stage", sorted(PRESETS))
def test_presets_are_valid(stage):
    kind: Any = {"vqvae": VQVAERun, "gpt": GPTRun, "classifier": ClassifierRun}[stage]
    for name, values in PRESETS[stage].items():
        run = Choices(kind, values, None, {}).resolve()
        assert run == kind.model_validate(merge(kind().model_dump(), values)), name


@pytest.mark.parametrize(
    ("values", "message", "hint"),
    [
        ({"sead": 1}, "unknown key 'sead'", "'seed'"),
        ({"network": {"n_codebok": 1}}, "unknown key 'network.n_codebok'", "'network.n_codebook'"),
        ({"n_e": 512}, "unknown key 'n_e'", "'network.n_e'"),
        ("- a\n- b\n", "holds a list", ""),
        ("a: [", "cannot be read", ""),
    ],
)
def test_files_that_do_not_fit_are_refused_by_name(config_file, values, message, hint):
    with pytest.raises(UsageError) as caught:
        read_config_file(config_file(values), VQVAERun)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        read_config_file(tmp_path / "none.yaml", VQVAERun)


def test_values_out_of_range_name_the_flag():
    with pytest.raises(SettingsError) as caught:
        resolve(learning_rate=-1.0)
    message, hint = with_flags_named(caught.value)
    assert message == "--learning-rate must be greater than 0, got -1.0"
    assert hint == "--learning-rate: Peak learning rate."
    with pytest.raises(SettingsError) as caught:
        resolve(n_e=511)
    message, _ = with_flags_named(caught.value)
    assert "--n-e (511) must be a multiple of --n-codebook (4)" in message


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        ("n_frames=64", "--len 64"),
        ("give n_frames=64 and n=1", "give --len 64 and -n 1"),
        ("greedy=True, or nothing greedy", "--greedy, or nothing greedy"),
        ("greedy: whether to be greedy", "--greedy: whether to be greedy"),
        ("mirror=False", "--no-mirror"),
        ("a smaller n_frames", "a smaller --len"),
        ("leave out `labels`, if there are labels", "leave out --labels, if there are labels"),
        ("a file of labels-only n's", "a file of labels-only n's"),
    ],
)
def test_errors_of_the_library_name_flags(hint, shown):
    error = PoseGPTError("n_frames must be 1 or more", hint, ("n_frames", "n", "greedy", "mirror", "labels"))
    assert with_flags_named(error) == ("--len must be 1 or more", shown)
    plain = PoseGPTError("a skeleton that is not known", "choose another `skeleton`", "skeleton")
    assert with_flags_named(plain) == ("a skeleton that is not known", "choose another --skeleton")
    assert with_flags_named(PoseGPTError("n_frames", "n")) == ("n_frames", "n")


def test_what_a_file_gives_in_the_wrong_place_is_named(config_file):
    """Keys below a plain value were an AttributeError; a value in the place of a part was not said where."""
    for values, said in (
        ({"seed": {"a": 1}}, "seed must be a valid integer"),
        ({"network": 5}, "network must be a valid dictionary"),
    ):
        with pytest.raises(SettingsError) as caught:
            resolve(file=config_file(values))
        assert caught.value.message.startswith(said)


def test_a_switch_is_turned_one_way(posegpt, tmp_path):
    words = ("train", "vqvae", "--dummy-data", "--dry-run", "--out", tmp_path)
    for both in (("--mirror", "--no-mirror"), ("--no-mirror", "--mirror")):
        ran = posegpt(*words, *both)
        assert ran.code == 2 and "--mirror does not go with --no-mirror" in ran.err


def test_original_spelling_of_switches():
    words = ["train", "gpt", "--class-conditional", "1", "--gen-eos", "0", "--seq-len", "1", "--debug"]
    ours = ["train", "gpt", "--class-conditional", "--no-gen-eos", "--seq-len", "1", "--debug"]
    assert original_spelling(words) == ours
    assert switch_words(["--debug", "true", "--debug", "False"], ["--debug"]) == ["--debug", "--no-debug"]


@pytest.mark.parametrize(("stage", "kind"), [("vqvae", VQVAERun), ("gpt", GPTRun)])
def test_help_names_every_field(posegpt, monkeypatch, stage, kind):
    monkeypatch.setenv("COLUMNS", "160")
    out = posegpt("train", stage, "--help").out
    for field in config_fields(kind, SET_BY_DATA[stage]):
        assert f"{field.flag} " in out, field.flag
    for name in SET_BY_DATA[stage]:
        assert f"--{name.replace('_', '-')} " not in out


def test_names_of_nested_fields_do_not_collide():
    for kind in (VQVAERun, GPTRun):
        names = [field.name for field in config_fields(kind)]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(("text", "frames"), [("64", 64), ("3.5s", 105), ("2 s", 60), ("1", 1)])
def test_lengths(text, frames):
    assert parse_length(text, fps=30) == frames


@pytest.mark.parametrize("text", ["0", "-3", "0.01s", "2m", "", "1.5", "36001s", "9" * 5000, "9" * 500 + "s"])
def test_lengths_that_are_none(text):
    with pytest.raises(UsageError, match="--len"):
        parse_length(text, fps=30)


@pytest.mark.parametrize("text", ["big", "640", "640x", "9" * 5000 + "x2"])
def test_sizes_that_are_none(text):
    with pytest.raises(UsageError, match="--size"):
        parse_size(text)


def test_sizes_of_videos_are_even(tmp_path):
    odd = RenderOptions(size=parse_size("641x480"))
    assert complete_options(odd, [tmp_path / "a.png"]).size == (641, 480)
    with pytest.raises(UsageError) as caught:
        complete_options(odd, [tmp_path / "a.png", tmp_path / "a.mp4"])
    assert caught.value.hint == "--size 642x480"


def test_the_table_of_flags_names_only_settings_that_exist():
    """A setting that is renamed would lose its flag, its panel and its completion without a word."""
    for command in COMMANDS:
        importlib.import_module(f"posegpt_cli.commands.{command.module or command.name}")
    known = set(PARAMETERS)
    waiting = [Config]
    while waiting:
        config = waiting.pop()
        known |= config.model_fields.keys()
        waiting += config.__subclasses__()
    assert set(FLAGS) <= known
