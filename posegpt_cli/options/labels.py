"""Labels on the command line: resolved against a vocabulary, and put back into flags and file names."""

from collections.abc import Sequence

from data.actions import STYLE_PREFIX, resolve_label, split_labels


def resolve_labels(actions: Sequence[str], style: str | None, vocabulary: tuple[str, ...]) -> tuple[str, ...]:
    """Actions and a style in the vocabulary's spelling; raises PoseGPTError with the closest names."""
    # Actions and styles are looked up apart, so that a misspelt one gets proposals of its own kind.
    names, styles = split_labels(vocabulary)
    labels = [resolve_label(action, names) for action in actions]
    if style:
        labels.append(STYLE_PREFIX + resolve_label(style, styles, "style"))
    return tuple(labels)


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
