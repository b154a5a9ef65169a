"""The fields of a Config as options: flags, types, defaults as the help shows them."""

import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from posegpt_cli.options.flags import FLAGS, Flag, flag_of, off_flag_of


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
    def look(self) -> Flag:
        """What the table of flags says of the field."""
        return FLAGS.get(self.name, Flag())

    @property
    def flag(self) -> str:
        """The flag, or the name of a positional argument."""
        return self.look.metavar or "" if self.look.is_argument else flag_of(self.name)

    @property
    def off_flag(self) -> str:
        """What turns a switch off."""
        return off_flag_of(self.name)

    @property
    def type(self) -> Any:
        """The plain type, without constraints and None: int, float, bool, str, Path, a Literal or list."""
        return str if self.look.parse else plain_type(self.info.annotation)


def config_fields(
    config: type[BaseModel], without: Sequence[str] = (), aliases: Mapping[str, tuple[str, ...]] = {}
) -> list[ConfigField]:
    """All fields of a config, and after them those of its parts.

    Args:
        without: names left out.
        aliases: further flags of a field, by its name.
    """
    own = list[ConfigField]()
    nested = list[ConfigField]()
    for name, info in config.model_fields.items():
        if part := part_of(info):
            for field in config_fields(part, without, aliases):
                nested.append(ConfigField((name, *field.path), field.info, field.aliases))
        elif name not in without:
            own.append(ConfigField((name,), info, aliases.get(name, ())))
    return own + nested


def part_of(field: FieldInfo) -> type[BaseModel] | None:
    """The config that a field is; None for a plain value."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def plain_type(annotation: Any) -> Any:
    """The type that Typer reads: `Annotated[int, ...] | None` is int, `tuple[Path, ...]` is list[Path]."""
    origin = get_origin(annotation)
    # Constraints are pydantic's to check: Typer only needs to know what to parse.
    if origin is Annotated:
        return plain_type(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        [only] = [member for member in get_args(annotation) if member is not type(None)]
        return plain_type(only)
    # Typer repeats an option for a list.
    if origin is tuple:
        return list[plain_type(get_args(annotation)[0])]  # type: ignore[misc]
    return annotation


def default_of(field: ConfigField, preset: Mapping[str, Any]) -> Any:
    """What a preset says of a field, or else the field's default (None if it has none)."""
    # A preset names only what differs, at any depth.
    value: Any = preset
    for name in field.path:
        if name not in value:
            return None if field.info.is_required() else field.info.default
        value = value[name]
    return value


def show_defaults(field: ConfigField, presets: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """What the help says of a field's default, and of each preset that has another; "" for nothing."""
    defaults = {name: _show(default_of(field, preset), field.look) for name, preset in presets}
    shown = next(iter(defaults.values()))
    others = [f"{name}: {value}" for name, value in defaults.items() if value != shown]
    if shown == "off" and not others:  # what a switch is unless it is given
        return ""
    notes = [f"default: {shown or 'none'}", *others] if shown or others else []
    if shown == "on":
        notes.append(f"off: {field.off_flag}")
    return "; ".join(notes)


def _show(value: Any, look: Flag) -> str:
    if value is None or value == ():
        # What stands for "nothing" depends on the field: the bundled checkpoint, the motion's own body, ...
        return look.default
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if look.parse and isinstance(value, tuple):  # a size
        return "x".join(map(str, value))
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value)
