"""Command-line options made from a run's config: preset, then a YAML file, then flags."""

import difflib
import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from models.config import upgrade_names
from posegpt_cli.console import UsageError, ask_path
from posegpt_cli.options.shared import default_note, refuse_together

_C = TypeVar("_C", bound=BaseModel)
Values = dict[str, Any]


@dataclass(frozen=True, eq=False)
class ConfigField:
    """One field of a config as an option: `network.n_e` becomes `--n-e`."""

    path: tuple[str, ...]
    """Names from the config down to the field."""
    info: FieldInfo
    aliases: tuple[str, ...] = ()
    """Further flags of the same meaning."""

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def off_flag(self) -> str:
        """What turns a switch off."""
        return "--no-" + self.flag.removeprefix("--")

    @property
    def type(self) -> Any:
        """The plain type, without constraints and None: int, float, bool, str, Path or a Literal."""
        return _plain_type(self.info.annotation)


def config_fields(
    config: type[BaseModel], without: Sequence[str] = (), aliases: Mapping[str, tuple[str, ...]] = {}
) -> list[ConfigField]:
    """All fields of a config, those of its parts after its own.

    Args:
        without: names left out.
        aliases: further flags of a field, by its name.
    """
    own, nested = [], []
    for name, info in config.model_fields.items():
        if part := _part(info):
            parts = config_fields(part, without, aliases)
            nested += [ConfigField((name, *f.path), f.info, f.aliases) for f in parts]
        elif name not in without:
            own.append(ConfigField((name,), info, aliases.get(name, ())))
    return own + nested


@dataclass(frozen=True)
class Choices(Generic[_C]):
    """What the command line says of a config, in the order in which it counts."""

    config: type[_C]
    preset: Values
    file: Path | None
    """--config."""
    flags: Mapping[ConfigField, Any]
    """Only those that were given."""

    def resolve(self, instead_of_preset: Path | None = None) -> _C:
        """The config: the preset (or the YAML file in its place), then --config, then flags.

        Raises SettingsError naming the field that does not fit, UsageError naming the key of a file.
        """
        values = read_config_file(instead_of_preset, self.config) if instead_of_preset else self.preset
        if self.file:
            values = merge(values, read_config_file(self.file, self.config))
        for option, value in self.flags.items():
            nested: Values = {option.name: value}
            for name in reversed(option.path[:-1]):
                nested = {name: nested}
            values = merge(values, nested)
        return self.config.model_validate(values)


def config_options(
    config: type[BaseModel],
    presets: Mapping[str, Values],
    panels: Mapping[str, str],
    without: Sequence[str] = (),
    aliases: Mapping[str, tuple[str, ...]] = {},
    preset_help: str = "",
    completions: Mapping[str, Callable[[str], list[str]]] = {},
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: give a command a flag for every field of `config`; with presets also --preset and --config.

    The command's first parameter gets a `Choices`. Fields that must be given are asked for on a terminal.

    Args:
        presets: settings by name, the first one being the default; {} for a config without presets.
        panels: help panel of a field, or of a part of the config, by name; the help keeps their order.
        without: fields that are no options, because something else decides them.
        aliases: further flags of a field, by its name.
        preset_help: help of --preset.
        completions: what the shell is offered for a field, by its name.
    """
    order = list(panels)
    fields = sorted(
        config_fields(config, without, aliases),
        key=lambda f: order.index(key) if (key := _panel_key(f, panels)) else -1,
    )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_choices(preset: str = "", config_file: Path | None = None, **given: Any) -> None:
            flags = {f: value for f in fields if (value := _pop(given, f)) is not None}
            for field in fields:
                if field.info.is_required() and field not in flags:
                    flags[field] = ask_path(field.flag, field.info.description or field.name)
            command(Choices(config, presets.get(preset, {}), config_file, flags), **given)

        own = list(inspect.signature(command).parameters.values())[1:]
        hints = get_type_hints(command, include_extras=True)
        parameters = [
            *(_source_parameters(presets, preset_help) if presets else []),
            *(p for f in fields for p in _field_parameters(f, presets, panels, completions.get(f.name))),
            *(p.replace(annotation=hints[p.name], kind=p.KEYWORD_ONLY) for p in own),
        ]
        with_choices.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_choices.__annotations__ = {p.name: p.annotation for p in parameters}
        return with_choices

    return decorate


def read_config_file(path: Path, config: type[BaseModel]) -> Values:
    """A YAML file in the layout of a run folder's config.yaml.

    Raises UsageError where it cannot be read, or has keys that `config` has not.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "give a YAML file") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds a {type(values).__name__}, expected keys and values", "seed: 1")
    values = upgrade_names(values, config)
    _refuse_unknown(values, config, path, ())
    return values


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Values:
    """`over` laid on `base`, part by part."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def dashed_words(words: Sequence[str], flags: Iterable[str]) -> list[str]:
    """Words with PoseGPT's own `--n_codebook` put as `--n-codebook`, for those that are flags then."""
    known, result = set(flags), list[str]()
    for word in words:
        flag, equals, value = word.partition("=")
        dashed = flag.replace("_", "-")
        result.append(dashed + equals + value if dashed in known else word)
    return result


def switch_words(words: Sequence[str], switches: Iterable[str]) -> list[str]:
    """PoseGPT's own `--debug 1` and `--debug 0` as `--debug` and `--no-debug`, for flags in `switches`."""
    known, result = set(switches), list[str]()
    for word in words:
        last = result[-1] if result else ""
        if last in known and word.lower() in ("0", "1", "true", "false"):
            if word.lower() in ("0", "false"):
                result[-1] = "--no-" + last.removeprefix("--")
        else:
            result.append(word)
    return result


def _source_parameters(presets: Mapping[str, Values], preset_help: str) -> list[inspect.Parameter]:
    choice = Literal[tuple(presets)]  # type: ignore[valid-type]
    first = next(iter(presets))
    preset = typer.Option(first, help=preset_help + default_note(f"default: {first}"), show_default=False)
    file = typer.Option(None, "--config", help="YAML file over the preset, e.g. a run's config.yaml.")
    return [
        inspect.Parameter("preset", inspect.Parameter.KEYWORD_ONLY, default=preset, annotation=choice),
        inspect.Parameter(
            "config_file", inspect.Parameter.KEYWORD_ONLY, default=file, annotation=Path | None
        ),
    ]


def _field_parameters(
    field: ConfigField,
    presets: Mapping[str, Values],
    panels: Mapping[str, str],
    completion: Callable[[str], list[str]] | None,
) -> list[inspect.Parameter]:
    """An option that is None where it was not given; a switch has a twin that turns it off.

    The twin is an option of its own, and hidden, because the help would cut both names short in one row.
    """
    defaults = {name: _show(_dig(preset, field)) for name, preset in (presets or {"": {}}).items()}
    shown = next(iter(defaults.values()))
    others = [f"{name}: {value}" for name, value in defaults.items() if value != shown]
    notes = [f"default: {shown or 'none'}", *others] if shown or others else []
    if shown == "on":
        notes.append(f"off: {field.off_flag}")
    option = typer.Option(
        None,
        field.flag,
        *field.aliases,
        help=_escape(field.info.description or "") + default_note("; ".join(notes)),
        show_default=False,
        rich_help_panel=panels.get(_panel_key(field, panels) or ""),
        autocompletion=completion,
    )
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(field.name, kind, default=option, annotation=field.type | None)]
    if field.type is bool:
        off = typer.Option(False, field.off_flag, hidden=True)
        parameters.append(inspect.Parameter(f"no_{field.name}", kind, default=off, annotation=bool))
    return parameters


def _panel_key(field: ConfigField, panels: Mapping[str, str]) -> str | None:
    """What a field's panel is found by: its name, or else that of its part of the config."""
    return next((key for key in (field.name, field.path[0]) if key in panels), None)


def _pop(given: Values, field: ConfigField) -> Any:
    """Take a field's value out of what Typer parsed; None where it was not given."""
    value, is_off = given.pop(field.name), given.pop(f"no_{field.name}", False)
    refuse_together(field.flag, value, {field.off_flag: is_off})
    return False if is_off else value


def _dig(preset: Values, field: ConfigField) -> Any:
    """What a preset says of a field, or else the field's default (None where it has none)."""
    value: Any = preset
    for name in field.path:
        if name not in value:
            return None if field.info.is_required() else field.info.default
        value = value[name]
    return value


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _escape(text: str) -> str:
    """Text whose brackets are no markup of rich's."""
    return text.replace("[", r"\[")


def _plain_type(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        return _plain_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        [only] = [a for a in get_args(annotation) if a is not type(None)]
        return _plain_type(only)
    return annotation


def _part(field: FieldInfo) -> type[BaseModel] | None:
    """The config that a field is; None for a plain value."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _refuse_unknown(values: Values, config: type[BaseModel], path: Path, parents: tuple[str, ...]) -> None:
    for key, value in values.items():
        info = config.model_fields.get(str(key))
        if info is None:
            paths = {f.name: ".".join((*parents, *f.path)) for f in config_fields(config)}
            close = difflib.get_close_matches(str(key), paths, n=1)
            hint = f"did you mean '{paths[close[0]]}'?" if close else "posegpt train --help names the fields"
            raise UsageError(f"{path}: unknown key '{'.'.join((*parents, str(key)))}'", hint)
        if isinstance(value, dict) and (part := _part(info)):
            _refuse_unknown(value, part, path, (*parents, str(key)))
