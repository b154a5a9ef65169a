"""How many clips of a store have each label, and how long they are."""

import numpy as np
from numpy.typing import NDArray

from data.store import Store
from models.label_facts import DECILES, LabelFacts


def label_facts(store: Store) -> dict[str, LabelFacts]:
    """Clips and lengths of every label of a store; a label in parts of clips is as long as these parts."""
    facts: dict[str, LabelFacts] = {}
    for column, name in enumerate(store.label_names):
        lengths = _lengths(store, column)
        deciles = tuple(int(n) for n in np.quantile(lengths, DECILES).round()) if len(lengths) else ()
        facts[name] = LabelFacts(clips=int(store.labels[:, column].sum()), frames=deciles)
    return facts


def _lengths(store: Store, column: int) -> NDArray[np.int64]:
    """Frames of every clip, or part of a clip, that has the label."""
    if store.frame_labels is None:
        return np.asarray(store.lengths)[store.labels[:, column]]

    # Parts end where the label does, and with their clip.
    has_label = np.asarray(store.frame_labels[:, column]).astype(np.int8)
    is_first = np.zeros(len(has_label), bool)
    is_first[np.asarray(store.starts)] = True
    begins = (has_label == 1) & ((np.diff(has_label, prepend=0) == 1) | is_first)
    runs = np.cumsum(begins)[has_label == 1]
    return np.bincount(runs)[1:] if len(runs) else np.empty(0, np.int64)
