"""Labels embedded by the vectors of their words, as the original does with GloVe."""

from dataclasses import replace

import pytest
import torch

from models.checkpoint import find_checkpoint, load_gpt
from models.errors import PoseGPTError
from models.networks.condition import WordEmbedding
from models.training.fine_tune import fine_tune_from
from models.training.stages.make_stage import make_stage
from models.training.train import train
from models.training.word_vectors import read_word_vectors, words_of
from tests.models.small import INFO, TINY_GPT, SwingingArms, gpt_run, training_data

TEXT = "the 0 0 0\nwave 0.5 -1 2\nwalk 1 2 3\nwave 9 9 9\nleft -1 0 0.25\n"


@pytest.fixture
def vectors(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("walk", ["walk"]),
        ("turn-left 2", ["turn", "left"]),
        ("style:Elderly", ["elderly"]),
        ("place_something", ["place", "something"]),
    ],
)
def test_words_of_labels(label, words):
    assert words_of(label) == words


def test_only_the_words_of_the_labels_are_read(vectors):
    found = read_word_vectors(vectors, ("wave-left-hand", "walk", "Wave"))
    assert found.vectors.tolist() == [[0.5, -1, 2], [-1, 0, 0.25], [1, 2, 3]]
    assert found.of_label.tolist() == [[True, True, False], [False, False, True], [True, False, False]]


def test_a_label_of_unknown_words(vectors):
    with pytest.raises(PoseGPTError, match="no vector for any word of 'bow'"):
        read_word_vectors(vectors, ("walk", "bow"))
    vectors.write_text("400000 3\n" + TEXT + "<unk> 7 7 7\n")  # with word2vec's first line
    found = read_word_vectors(vectors, ("walk", "bow"))
    assert found.vectors[found.of_label[1]].tolist() == [[7, 7, 7]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("walk 1 2\nwave 1\n", "differ in length"),
        ("walk 1 x\n", "the line of 'walk' holds no numbers"),
        ("walk 1 nan\nwave 1 2\n", "NaN or infinite"),
        ("walk \nwave \n", "differ in length"),
        ("\0\xff\n", "none of the labels' words"),
        ("", "none of the labels' words"),
    ],
)
def test_files_that_are_no_word_vectors(vectors, text, message):
    vectors.write_text(text, encoding="latin1")
    with pytest.raises(PoseGPTError, match=message):
        read_word_vectors(vectors, ("walk", "wave"))
    with pytest.raises(PoseGPTError, match="cannot read"):
        read_word_vectors(vectors.parent / "none.txt", ("walk",))


def test_the_largest_of_all_words_channel_by_channel():
    torch.manual_seed(0)
    words = WordEmbedding(n_labels=3, n_words=4, word_dim=5, dim=6, is_frozen=False)
    words.vectors.data.normal_()
    words.of_label.copy_(torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]]).bool())
    labels = torch.tensor([[[1.0, 0, 0], [0, 0, 0]], [[0, 1, 1], [1, 0, 0]]])
    found = words(labels)
    each = words.project(words.vectors)
    torch.testing.assert_close(found[0, 0], torch.maximum(each[0], each[1]))
    torch.testing.assert_close(found[1, 0], each[1:].amax(0))
    assert torch.equal(found[0, 0], found[1, 1]) and not found[0, 1].any()


@pytest.mark.parametrize("kind", ["words_frozen", "words_ft"])
def test_a_generator_learns_of_words_and_loads(tmp_path, trained, vectors, kind):
    network = TINY_GPT.model_copy(update={"action_emb": kind})
    run = gpt_run(trained["vqvae"], network=network, word_vectors=vectors)
    train(run, tmp_path / "run", training_data(SwingingArms()))
    gpt, info = load_gpt(find_checkpoint(tmp_path / "run", "gpt"))
    first = read_word_vectors(vectors, info.labels)
    assert torch.equal(gpt.words.of_label, first.of_label)
    assert torch.equal(gpt.words.vectors, first.vectors) == (kind == "words_frozen")
    assert gpt.config.n_words == 2 and gpt.config.word_dim == 3

    # Of other labels the words are others; what was learned of vectors in general stays.
    more = replace(INFO, labels=("left walk", "wave", "walk"))
    stage = make_stage(run, more)
    fine_tune_from(stage, tmp_path / "run", more)
    assert torch.equal(stage.network.words.project.weight, gpt.words.project.weight)
    assert torch.equal(stage.network.words.of_label, read_word_vectors(vectors, more.labels).of_label)


def test_word_vectors_and_what_they_are_for_go_together(trained, vectors):
    network = TINY_GPT.model_copy(update={"action_emb": "words_ft"})
    with pytest.raises(PoseGPTError, match="action_emb=words_ft needs word vectors"):
        make_stage(gpt_run(trained["vqvae"], network=network), INFO)
    with pytest.raises(PoseGPTError, match="not used by action_emb=scratch"):
        make_stage(gpt_run(trained["vqvae"], word_vectors=vectors), INFO)
