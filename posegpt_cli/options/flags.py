"""Where each setting appears on the command line: the one table of flags, used for options and errors.

Defaults and help texts stand with the settings themselves, in their Config. Imports no pydantic.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import PoseGPTError, SettingsError
from posegpt_cli.options.completion import complete_action, complete_rig, complete_style, runs_of
from posegpt_cli.options.parsing import parse_size

BEHAVIOUR = "Behaviour"
SAMPLING = "Sampling"
PICTURE = "Picture"
READING = "Reading"
DATA = "Data"


@dataclass(frozen=True)
class Flag:
    """How a setting appears on the command line, as far as its name and type do not say."""

    names: tuple[str, ...] = ()
    """Flags, in place of the setting's own name."""
    panel: str | None = None
    """Panel of the help."""
    off: str = ""
    """What turns a switch off, in place of --no- and its name."""
    metavar: str | None = None
    """What stands for the value in the help."""
    default: str = ""
    """What the help says of a default that is None or empty."""
    complete: Callable[..., list[str]] | None = None
    """What the shell offers."""
    parse: Callable[[str], Any] | None = None
    """Makes the value from what was typed; raises UsageError."""
    is_argument: bool = False
    """A positional argument."""
    suffixes: tuple[str, ...] = ()
    """Extensions of the files that it takes, for completion at a question."""


MOTION_SUFFIXES = (".npz", ".bvh", ".amc", ".glb")
_BUNDLED = "the bundled one"

# fmt: off
FLAGS: Mapping[str, Flag] = {
    "motions": Flag(metavar="MOTION...", is_argument=True, suffixes=MOTION_SUFFIXES),
    "past_motion": Flag(metavar="PAST", is_argument=True, suffixes=MOTION_SUFFIXES),
    "actions": Flag(("--action",), metavar="ACTION", complete=complete_action),
    "style": Flag(metavar="STYLE", complete=complete_style),
    "n_frames": Flag(("--len",)),
    "last_frames": Flag(("--past-frames",)),
    "length": Flag(("--len",), metavar="LENGTH", default="usual; with --loop 128"),
    "until": Flag(metavar="LENGTH"),
    "out": Flag(metavar="PATH"),
    "sentence": Flag(metavar="SENTENCE", is_argument=True),
    "query": Flag(metavar="WORDS", is_argument=True),
    "then": Flag(metavar="SENTENCE"),
    "prompts": Flag(metavar="FILE"),
    "timeline": Flag(metavar="SEGMENTS"),
    "gpt": Flag(default=_BUNDLED, complete=runs_of("gpt")),
    "vqvae": Flag(default=_BUNDLED, complete=runs_of("vqvae")),
    "classifier": Flag(default=_BUNDLED, complete=runs_of("classifier")),
    "decoder": Flag(default="the generator's own"),
    "init": Flag(complete=runs_of("*")),
    "n": Flag(("-n",)),
    "pasts": Flag(("--past",)),
    "observed": Flag(("--past-frames",)),
    "splits": Flag(("--split",), panel=DATA),
    "values": Flag(("--value",)),
    "with_labels": Flag(off="--without-labels"),
    **dict.fromkeys(("data", "split", "clips", "max_frames", "generated"), Flag(panel=DATA)),
    "batch_size": Flag(panel=BEHAVIOUR),
    "samples": Flag(("--samples", "-k")),
    **dict.fromkeys(("temperature", "top_k", "top_p", "min_p", "greedy"), Flag(panel=SAMPLING)),
    "guidance": Flag(panel=SAMPLING, default="the action's own, else 3"),
    **dict.fromkeys(
        ("renderer", "camera", "floor", "background", "captions", "sheet_frames", "trail", "contacts",
         "multisampling", "past_frames", "layout"),
        Flag(panel=PICTURE),
    ),
    "size": Flag(panel=PICTURE, metavar="WxH", parse=parse_size),
    "color": Flag(panel=PICTURE, default="its own colours"),
    "titles": Flag(("--title",), panel=PICTURE, metavar="TEXT"),
    "body_type": Flag(panel=PICTURE, default="the motion's own; in .npz smplh or smplx"),
    "body": Flag(panel=PICTURE, default="neutral"),
    "body_model": Flag(panel=PICTURE),
    "rig": Flag(metavar="NAME|FILE", complete=complete_rig),
    "model_dir": Flag(("--body-model",)),
    **dict.fromkeys(
        ("skeleton", "write_skeleton", "up", "scale", "t_pose_frame", "fps_in", "animation", "gender"),
        Flag(panel=READING),
    ),
    "token": Flag(default="made up, if other machines can ask"),
    "open_page": Flag(("--open",), off="--no-open"),
    "preview": Flag(panel=BEHAVIOUR),
    "jobs": Flag(panel=BEHAVIOUR),
    "device": Flag(panel=BEHAVIOUR),
    "force": Flag(panel=BEHAVIOUR),
    "yes": Flag(("--yes", "-y"), panel=BEHAVIOUR),
    "dry_run": Flag(panel=BEHAVIOUR),
    "as_json": Flag(("--json",), panel=BEHAVIOUR),
}
# fmt: on
"""By the setting's name; a setting that is not here has a flag of its own name."""


def flag_of(setting: str) -> str:
    """The flag of a setting or parameter: `n_frames` has `--len`, `top_k` has `--top-k`."""
    names = FLAGS.get(setting, Flag()).names
    return names[0] if names else "--" + setting.replace("_", "-")


def off_flag_of(setting: str) -> str:
    """What turns a switch off."""
    return FLAGS.get(setting, Flag()).off or "--no-" + flag_of(setting).removeprefix("--")


def with_flags_named(error: PoseGPTError) -> tuple[str, str]:
    """Message and hint of an error, with flags in place of the parameters that it names."""
    # A complaint about settings is about nothing else: each mention of a name is a mention of the setting.
    is_of_settings = isinstance(error, SettingsError)
    message = _name_flags(error.message, error.parameters, everywhere=is_of_settings)
    return message, _name_flags(error.hint, error.parameters)


def _name_flags(text: str, parameters: Iterable[str], everywhere: bool = False) -> str:
    """Flags for values (`n_frames=64`), for names in backticks, at the start, and with an underscore.

    Other mentions are left: "labels" or "skeleton" may be just the word.
    """
    text = _name_values(text, parameters)
    for name in parameters:
        start = r"(?<![\w-])" if everywhere or "_" in name else "^"
        text = re.sub(rf"{start}{name}(?![\w-])", flag_of(name), text)
    return text


def _name_values(text: str, parameters: Iterable[str]) -> str:
    """Put `--len 64` for n_frames=64, `--greedy` for greedy=True, and flags for names in backticks."""
    for name in parameters:
        flag = flag_of(name)
        # Assignments before bare names: "n=1" must not become "-n=1".
        text = text.replace(f"`{name}`", flag)
        text = re.sub(rf"(?<![\w-]){name}=True\b", flag, text)
        text = re.sub(rf"(?<![\w-]){name}=False\b", off_flag_of(name), text)
        text = re.sub(rf"(?<![\w-]){name}=(?=\S)", f"{flag} ", text)
    return text
