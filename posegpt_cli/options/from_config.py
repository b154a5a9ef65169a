"""The one way in which commands get options: a flag for every field of a Config in their signature."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel

from posegpt_cli.options.config_file import Values, merge, read_config_file
from posegpt_cli.options.fields import ConfigField, config_fields, show_defaults
from posegpt_cli.options.help_text import default_note, escape
from posegpt_cli.options.parsing import refuse_together
from posegpt_cli.questions import answered, ask_path

_C = TypeVar("_C", bound=BaseModel)
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


@dataclass(frozen=True)
class Choices(Generic[_C]):
    """What the command line says of a config, in the order in which it counts."""

    config: type[_C]
    preset: Values
    file: Path | None
    """--config."""
    flags: Mapping[ConfigField, Any]
    """Only fields that were given."""

    def resolve(self, instead_of_preset: Path | None = None) -> _C:
        """The config: the preset (or the YAML file in its place), then --config, then flags.

        Raises SettingsError naming the field that does not fit, UsageError naming the key of a file.
        """
        values = read_config_file(instead_of_preset, self.config) if instead_of_preset else self.preset
        if self.file:
            values = merge(values, read_config_file(self.file, self.config))

        # Each flag becomes a small tree of its own, so that one rule lays file and flags over the rest.
        for option, value in self.flags.items():
            nested: Values = {option.name: value}
            for name in reversed(option.path[:-1]):
                nested = {name: nested}
            values = merge(values, nested)
        return self.config.model_validate(values)


@dataclass(frozen=True)
class OptionSpec:
    """What the options of a command need beyond their configs and the table of flags."""

    presets: Mapping[str, Values] = field(default_factory=dict)
    """Settings by name, the first one the default; with presets there is also --preset and --config."""
    preset_help: str = ""
    """Help of --preset."""
    panels: Mapping[str, str] = field(default_factory=dict)
    """Help panel of a field, or of a part of a config, by name; the help keeps their order."""
    without: Sequence[str] = ()
    """Fields that are no options, because something else decides them."""
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further flags of a field, by its name."""

    def panel_key(self, option: ConfigField) -> str | None:
        """What a field's panel is found by: its name, or else that of its part of the config."""
        return next((key for key in (option.name, option.path[0]) if key in self.panels), None)

    def panel(self, option: ConfigField) -> str | None:
        """Help panel of a field."""
        key = self.panel_key(option)
        return self.panels[key] if key else option.look.panel

    def fields(self, config: type[BaseModel]) -> list[ConfigField]:
        """The fields of a config that are options, in the order of the panels."""
        order = list(self.panels)

        def place(option: ConfigField) -> int:
            key = self.panel_key(option)
            return order.index(key) if key else -1

        return sorted(config_fields(config, self.without, self.aliases), key=place)


@dataclass(frozen=True)
class _Group:
    """One parameter of a command that is a config, and its options."""

    config: type[BaseModel]
    fields: Sequence[ConfigField]
    is_resolved: bool
    """Whether the command takes the config itself, or `Choices` of it."""


def with_options(spec: OptionSpec | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: each parameter of a command that is a Config becomes a flag for each of its fields.

    A parameter annotated with a Config gets an instance; its `model_fields_set` are the fields that were
    given. One annotated `Choices[CONFIG]` gets what was given, for the command to resolve. Others are as
    Typer knows them. Fields without a default are asked for on a terminal.
    """
    spec = spec or OptionSpec()

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        # Typer reads a function's signature: `run` gets one in which configs are replaced by their fields.
        groups = dict[str, _Group]()
        parameters = list[inspect.Parameter]()
        hints = get_type_hints(command, include_extras=True)
        for parameter in inspect.signature(command).parameters.values():
            hint = hints[parameter.name]
            config = _config_of(hint)
            if config is None:
                # An option of Typer's own.
                parameters.append(parameter.replace(annotation=hint, kind=_KEYWORD))
                continue
            fields = spec.fields(config)
            groups[parameter.name] = _Group(config, fields, is_resolved=hint is config)
            if spec.presets and hint is not config:
                parameters += _source_parameters(spec)
            for option in fields:
                parameters += _parameters_of(option, spec)

        @functools.wraps(command)
        def run(preset: str = "", config_file: Path | None = None, **given: Any) -> None:
            # Typer would make a bare exit code of Ctrl-C, and the app could not say that it was interrupted.
            try:
                with answered(bool(given.get("yes"))):
                    # What is missing is asked for before anything is refused.
                    taken = {name: _take(group, given) for name, group in groups.items()}
                    for name, group in groups.items():
                        if group.is_resolved:
                            given[name] = Choices(group.config, {}, None, taken[name]).resolve()
                        else:
                            start = spec.presets.get(preset, {})
                            given[name] = Choices(group.config, start, config_file, taken[name])
                    command(**given)
            except KeyboardInterrupt:
                raise typer.Abort from None

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _config_of(hint: Any) -> type[BaseModel] | None:
    """The config that a parameter of a command stands for; None for a plain option."""
    kind = get_args(hint)[0] if get_origin(hint) is Choices else hint
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _source_parameters(spec: OptionSpec) -> list[inspect.Parameter]:
    """--preset and --config."""
    # A Literal made at run time: Typer shows its values as choices.
    choice = Literal[tuple(spec.presets)]  # type: ignore[valid-type]
    first = next(iter(spec.presets))
    about = spec.preset_help + default_note(f"default: {first}")
    preset = typer.Option(first, help=about, show_default=False)
    file = typer.Option(None, "--config", help="YAML file over the preset, e.g. a run's config.yaml.")
    return [
        inspect.Parameter("preset", _KEYWORD, default=preset, annotation=choice),
        inspect.Parameter("config_file", _KEYWORD, default=file, annotation=Path | None),
    ]


def _parameters_of(option: ConfigField, spec: OptionSpec) -> list[inspect.Parameter]:
    """An option that is None if it was not given; a switch has a twin that turns it off.

    The twin is an option of its own, and hidden, because the help would cut both names short in one row.
    """
    look = option.look
    note = default_note(show_defaults(option, (spec.presets or {"": {}}).items()))
    about = escape(option.info.description or "")
    if look.is_argument:
        value = typer.Argument(None, metavar=look.metavar, help=about, show_default=False)
    else:
        value = typer.Option(
            None,
            option.flag,
            *look.names[1:],
            *option.aliases,
            help=about + note,
            show_default=False,
            metavar=look.metavar,
            rich_help_panel=spec.panel(option),
            autocompletion=look.complete,
        )
    parameters = [
        inspect.Parameter(option.name, _KEYWORD, default=value, annotation=option.type | None),
    ]
    # None stands for "not given", so that a file or preset can decide; "off" needs a flag of its own then.
    if option.type is bool:
        off = typer.Option(False, option.off_flag, hidden=True)
        parameters.append(inspect.Parameter(f"no_{option.name}", _KEYWORD, default=off, annotation=bool))
    return parameters


def _take(group: _Group, given: Values) -> dict[ConfigField, Any]:
    """The group's values out of what Typer parsed; required ones are asked for."""
    taken = dict[ConfigField, Any]()
    for option in group.fields:
        value = _pop(given, option)
        if value is None and group.is_resolved and option.info.is_required():
            value = _ask(option)
        if value is not None:
            taken[option] = value
    return taken


def _ask(option: ConfigField) -> Any:
    """A value that must be given, from the person at the terminal."""
    answer = ask_path(option.flag, option.info.description or option.name, option.look.suffixes)
    return (answer,) if get_origin(option.type) is list else answer


def _pop(given: Values, option: ConfigField) -> Any:
    """Take a field's value out of what Typer parsed; None if it was not given."""
    value = given.pop(option.name)
    is_off = given.pop(f"no_{option.name}", False)
    refuse_together(option.flag, value, {option.off_flag: is_off})
    if is_off:
        return False
    # Typer gives an empty list for an option that may come several times and did not come.
    if isinstance(value, list):
        return tuple(value) or None
    return option.look.parse(value) if option.look.parse and value is not None else value
