"""Labels on the command line: resolved against a vocabulary, and put back into flags and file names."""

from collections.abc import Sequence

from data.actions import STYLE_PREFIX, resolve_label, split_labels
from models.errors import PoseGPTError


def resolve_labels(actions: Sequence[str], style: str | None, vocabulary: tuple[str, ...]) -> tuple[str, ...]:
    """Actions and a style in the vocabulary's spelling; raises PoseGPTError with the closest names."""
    # Actions and styles are looked up apart, so that a misspelt one gets proposals of its own kind.
    names, styles = split_labels(vocabulary)
    labels = [_resolve(action, names, "action") for action in actions]
    if style:
        labels.append(STYLE_PREFIX + _resolve(style, styles, "style"))
    return tuple(labels)


def _resolve(name: str, known: list[str], kind: str) -> str:
    """A label by its name; raises PoseGPTError with the names that mean the same, if there are any."""
    try:
        return resolve_label(name, known, kind)
    except PoseGPTError as error:
        meant = _meant(name, known, kind == "style")
        if not meant:
            raise
        proposals = " or ".join(repr(label) for label in meant)
        raise PoseGPTError(error.message, f"did you mean {proposals}?") from error


def _meant(name: str, known: list[str], is_style: bool) -> list[str]:
    """Up to three labels that mean what was typed, nearest first."""
    from data.sentences.ranking import CLEAR, Ranker

    labels = [STYLE_PREFIX + label for label in known] if is_style else known
    ranking = Ranker(labels, of_styles=is_style).rank(name)
    if ranking.is_foreign:
        return []
    near = [match.label.removeprefix(STYLE_PREFIX) for match in ranking.matches if match.score >= CLEAR]
    return near[:3]


def label_words(labels: Sequence[str]) -> list[str]:
    """The flags that ask for labels: `--action walk --style elderly`."""
    words = list[str]()
    for label in labels:
        flag = "--style" if label.startswith(STYLE_PREFIX) else "--action"
        words += [flag, label.removeprefix(STYLE_PREFIX)]
    return words


def file_stem(label: str) -> str:
    """A label as part of a file's name."""
    return label.replace(" ", "-").replace("/", "-")
