"""`posegpt serve`: a page to play with the generator, in the browser."""

import importlib.util

import typer

from models.checkpoint import find_checkpoint, read_info
from models.errors import PoseGPTError
from posegpt_cli.options.from_config import OptionSpec, with_options
from posegpt_cli.options.help_text import examples
from posegpt_cli.options.shared import GeneratorSettings
from posegpt_cli.serving.settings import ServerSettings
from posegpt_cli.settings import read_settings

HELP = """
The page generates and continues motion, plays it in 3D while it is made, and writes files. Other programs \
use the same HTTP API (/openapi.json), Blender's Proscenium add-on uses MMCP (/mmcp).

Only this machine can ask, unless --host says otherwise; then whoever asks has to know the token in the \
address that is printed.
"""
NEEDED = ("fastapi", "uvicorn", "python_multipart", "motionmcp")
"""Packages of the extra."""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt serve --open",
        "posegpt serve --gpt runs/gpt/default --port 9000",
        "posegpt serve --host 0.0.0.0",
    )
    app.command("serve", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(serve)


@with_options(OptionSpec())
def serve(generator: GeneratorSettings, server: ServerSettings) -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise PoseGPTError(
            f"posegpt serve needs packages that are not installed: {', '.join(missing)}",
            "pip install 'posegpt[serve]'",
        )
    # A wrong --gpt is refused at once, before a web framework and torch are loaded.
    read_info(find_checkpoint(generator.gpt, "gpt"))

    from posegpt_cli.serving.run import serve as run

    run(server, generator.gpt, generator.device, read_settings().body_models)
