"""The `posegpt` command: parses, reports, draws."""


def __getattr__(name: str) -> str:
    # Looked up late: `models` may be imported only after __main__ has made sure that it is ours.
    if name == "__version__":
        from models import __version__

        return __version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
