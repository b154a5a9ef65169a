"""Parameters of the library as flags of the command line, in option names and in the library's errors."""

import re
from collections.abc import Iterable

from models.errors import PoseGPTError

FLAGS = {
    "as_json": "--json",
    "actions": "--action",
    "n": "-n",
    "n_frames": "--len",
    "titles": "--title",
}
"""Flags that are not called like their parameter."""


def flag_of(parameter: str) -> str:
    """The flag that sets a parameter: `n_frames` is `--len`, `top_k` is `--top-k`."""
    return FLAGS.get(parameter, "--" + parameter.replace("_", "-"))


def with_flags_named(error: PoseGPTError) -> tuple[str, str]:
    """Message and hint of an error, with flags in place of the parameters that it names."""
    return _name_flags(error.message, error.parameters), _name_flags(error.hint, error.parameters)


def _name_flags(text: str, parameters: Iterable[str]) -> str:
    """`n_frames=64` becomes `--len 64`, `greedy=True` becomes `--greedy`, and a bare name its flag."""
    for name in parameters:
        flag = flag_of(name)
        off_flag = "--no-" + flag.removeprefix("--")
        text = re.sub(rf"(?<![\w-]){name}=True\b", flag, text)
        text = re.sub(rf"(?<![\w-]){name}=False\b", off_flag, text)
        text = re.sub(rf"(?<![\w-]){name}=(?=\S)", f"{flag} ", text)
        text = re.sub(rf"(?<![\w-]){name}(?![\w-])", flag, text)
    return text
