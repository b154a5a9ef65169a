"""How rare the actions of clips, and the sets that they come from, are. Imports no torch."""

import numpy as np
from numpy.typing import NDArray

from data.actions import STYLE_PREFIX
from data.store import Store


def rarity(store: Store, clips: NDArray[np.int64], most: float) -> NDArray[np.float64]:
    """(clips,) how much rarer the rarest action of each clip is than the commonest one, at most `most`."""
    # Styles are left out: they would make every styled clip rare.
    actions = [k for k, name in enumerate(store.label_names) if not name.startswith(STYLE_PREFIX)]
    # Frames of each action in all clips, then the largest ratio among a clip's own actions.
    labels = np.asarray(store.labels)[clips][:, actions]
    frames = labels.T @ np.asarray(store.lengths)[clips]
    if not frames.any():
        return np.ones(len(clips))
    rarity = np.where(labels, frames.max() / np.maximum(frames, 1), 1.0).max(axis=1)
    return np.minimum(rarity, most)


def rarity_of_sets(store: Store, clips: NDArray[np.int64], most: float) -> NDArray[np.float64]:
    """(clips,) how much smaller the set of each clip is than the largest one, in frames, at most `most`."""
    _, of_clip = np.unique(np.array(store.sets)[clips], return_inverse=True)
    frames = np.bincount(of_clip, weights=np.asarray(store.lengths)[clips])
    return np.minimum(frames.max() / np.maximum(frames, 1), most)[of_clip]
