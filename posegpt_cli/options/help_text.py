"""Pieces of the help: examples below it, notes on defaults."""


def examples(*lines: str) -> str:
    """The epilog of a command's help."""
    return "\n".join(("[bold]Examples[/bold]", *map(escape, lines)))


def default_note(text: str) -> str:
    """What follows an option's help to tell its default, in the looks of Typer's own."""
    return rf" [dim]\[{text}][/dim]" if text else ""


def escape(text: str) -> str:
    """Text whose brackets are no markup of rich's."""
    return text.replace("[", r"\[")
