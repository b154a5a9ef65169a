"""Training data of a run: the windows that it trains on and those that it is validated on."""

from pathlib import Path
from typing import TYPE_CHECKING

from data.actions import STYLE_PREFIX
from data.dataset import Windows
from data.label_lengths import label_facts
from data.store import Store, find_store, open_store
from data.text_bank import make_text_bank, texts_by_label
from models.errors import PoseGPTError
from models.text.encoder import load_encoder
from models.training.config import GPTRun, RunConfig

if TYPE_CHECKING:
    from models.training.data_source import DataInfo, TrainingData


def open_training_data(run: RunConfig, folder: Path | str) -> "TrainingData":
    """Open the windows that a run trains and validates on.

    A data set without long enough validation clips is validated on training clips; `val_note` of the result
    then says why.

    Args:
        run: VQVAERun, GPTRun or ClassifierRun; it decides the length and the augmentation of the windows.
        folder: prepared data set, with a split `train` and, if possible, a split `val`.

    Raises:
        PoseGPTError: if there is no training data, it is damaged, or all of its clips are too short.
    """
    from models.training.data_source import TrainingData

    store = open_store(find_store(folder, "train"))
    second = None
    if run.second_data:
        second = _second_windows(run, store)
    train = _windows(store, run)
    val, note = _validation_windows(run, Path(folder))
    return TrainingData(
        info=data_info(store),
        train=train,
        val=val or _windows(store, run),
        second=second,
        n_short=train.n_short_clips,
        n_clips=len(store),
        val_note=note,
    )


def data_info(store: Store) -> "DataInfo":
    """What a run must know of a store."""
    from models.training.data_source import DataInfo

    manifest = store.manifest
    changing = store.frame_labels is not None
    return DataInfo(
        labels=manifest.label_names,
        body_type=manifest.body_type,
        fps=manifest.fps,
        fingerprint=manifest.fingerprint,
        per_frame=changing,
        names=() if changing else store.own_names,
        styles=tuple(name for name in manifest.label_names if name.startswith(STYLE_PREFIX)),
        label_facts=label_facts(store),
        phrases=texts_by_label(store),
    )


def _second_windows(run: RunConfig, train: Store) -> Windows:
    """Windows of the second data set; raises PoseGPTError if it is not of the same labels, body and rate."""
    assert run.second_data
    store = open_store(find_store(run.second_data, "val"))
    ours = train.manifest
    theirs = store.manifest
    for name, what in (("label_names", "labels"), ("body_type", "body"), ("fps", "frame rate")):
        if getattr(ours, name) != getattr(theirs, name):
            raise PoseGPTError(
                f"second_data={run.second_data} has another {what} than the training data",
                "prepare both with the same settings, and the same labels",
                "second_data",
            )
    return _windows(store, run)


def _windows(store: Store, run: RunConfig) -> Windows:
    """Windows of a store, with texts if the run learns from them."""
    if not isinstance(run, GPTRun) or not run.text:
        return Windows(store, run)
    return Windows(store, run, texts=make_text_bank(store, load_encoder(run.text_encoder)))


def _validation_windows(run: RunConfig, folder: Path) -> tuple[Windows | None, str]:
    """Windows of the split `val`; without usable ones None, and why."""
    try:
        path = find_store(folder, "val")
    except PoseGPTError as error:
        return None, error.message

    # A damaged store is an error: training clips would be no answer to it.
    store = open_store(path)
    try:
        return _windows(store, run), ""
    except PoseGPTError as error:
        return None, error.message
