"""Settings from a YAML file, and command lines in the original PoseGPT's spelling."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from models.config import upgrade_names
from models.errors import PoseGPTError
from models.files import read_bytes
from posegpt_cli.console import UsageError
from posegpt_cli.options.fields import config_fields, part_of

Values = dict[str, Any]
_LARGEST_FILE = 1 << 20


def read_config_file(path: Path, config: type[BaseModel]) -> Values:
    """A YAML file in the layout of a run folder's config.yaml.

    Raises UsageError if it cannot be read, or has keys that `config` does not have.
    """
    try:
        values = yaml.safe_load(read_bytes(path, _LARGEST_FILE).decode("utf-8"))
    except PoseGPTError as error:
        raise UsageError(error.message, error.hint) from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} cannot be read: {error}", "give a YAML file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} cannot be read: it is no UTF-8 text", "give a YAML file") from error
    except Exception as error:  # dates, numbers and keys that YAML cannot make raise anything
        raise UsageError(
            f"{path} cannot be read: one of its dates, numbers or keys cannot be", "correct it"
        ) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds a {type(values).__name__}, expected keys and values", "seed: 1")
    # Runs of earlier versions have other names for some fields.
    values = upgrade_names(values, config)
    _refuse_unknown(values, config, path, ())
    return values


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Values:
    """`over` laid on `base`, part by part."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = merge(old, value)
        merged[key] = value
    return merged


def switch_words(words: Sequence[str], switches: Iterable[str]) -> list[str]:
    """PoseGPT's own `--debug 1` and `--debug 0` as `--debug` and `--no-debug`, for flags in `switches`."""
    known = set(switches)
    result = list[str]()
    for word in words:
        last = result[-1] if result else ""
        if last in known and word.lower() in ("0", "1", "true", "false"):
            if word.lower() in ("0", "false"):
                result[-1] = "--no-" + last.removeprefix("--")
        else:
            result.append(word)
    return result


def _refuse_unknown(values: Values, config: type[BaseModel], path: Path, parents: tuple[str, ...]) -> None:
    for key, value in values.items():
        info = config.model_fields.get(str(key))
        if info is None:
            # A field of a part is often written at the top: proposed by its full path.
            paths = {field.name: ".".join((*parents, *field.path)) for field in config_fields(config)}
            close = difflib.get_close_matches(str(key), paths, n=1)
            hint = f"did you mean '{paths[close[0]]}'?" if close else "posegpt train --help names the fields"
            raise UsageError(f"{path}: unknown key '{'.'.join((*parents, str(key)))}'", hint)
        part = part_of(info)
        if isinstance(value, dict) and part:
            _refuse_unknown(value, part, path, (*parents, str(key)))
