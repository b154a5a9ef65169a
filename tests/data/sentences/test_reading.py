"""Sentences are read as timelines: what is understood, what is refused, how much of two lists of prompts."""

import pytest

from data.sentences.phrases import bundled_phrases, made_phrase, phrases_for
from data.sentences.ranking import Ranker
from data.sentences.reading import NotUnderstoodError, SentenceReader
from models.errors import PoseGPTError
from models.text.encoder import installed_encoder
from tests.data.sentences.prompts import FPS, VOCABULARY, read_prompts, shares

TARGETS = {"action": 0.85, "three": 0.95, "style": 0.88, "timeline": 0.85, "refuse": 0.9}


@pytest.fixture(scope="module")
def reader():
    return SentenceReader(VOCABULARY)


@pytest.fixture
def read(reader):
    def read(sentence, choices=None):
        return [(part.labels, part.n_frames) for part in reader.read(sentence, FPS, choices).segments]

    return read


@pytest.mark.parametrize("half", ["tuned", "held_out"])
def test_most_prompts_are_understood(reader, half):
    measured = shares(reader, half)
    assert all(measured[kind] >= target for kind, target in TARGETS.items()), measured


@pytest.mark.slow
def test_the_sentence_encoder_understands_at_least_as_much():
    encoder = installed_encoder()
    if encoder is None:
        pytest.skip("the sentence encoder is not installed")
    measured = shares(SentenceReader(VOCABULARY, encoder=encoder), "held_out")
    assert measured["action"] >= 0.92, measured


def test_the_lists_hold_each_label_twice_and_what_is_to_be_refused():
    prompts = [*read_prompts("tuned"), *read_prompts("held_out")]
    assert len(prompts) >= 150
    assert sum(prompt.kind == "refuse" for prompt in prompts) >= 30
    for label in VOCABULARY:
        asked = [label in right for prompt in prompts for labels, _ in prompt.expected for right in labels]
        assert sum(asked) >= 2, label


def test_the_sentence_of_the_readme(read):
    assert read("an old man walks slowly for 3 seconds, then waves with his left hand") == [
        (("walk", "style:elderly"), 90),
        (("wave-left-hand",), None),
    ]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Walks. Runs! Jumps?", ["walk", "run", "jump"]),
        ("walk -> run -> jump", ["walk", "run", "jump"]),
        ("after running, he bows", ["run", "bow"]),
        ("before she bows, she dances", ["dance", "bow"]),
        ("he bows after dancing", ["dance", "bow"]),
        ("dance followed by a bow", ["dance", "bow"]),
        ("first squat, second jump, last bow", ["squat", "jump", "bow"]),
        ("runs and jumps", ["run", "jump"]),
        ("jumps again and again", ["jump"]),
        ("walks, then again", ["walk", "walk"]),
    ],
)
def test_one_thing_after_another(read, sentence, expected):
    assert [labels[0] for labels, _ in read(sentence)] == expected


@pytest.mark.parametrize("joint", ["while", "and", "whilst", "at the same time as"])
def test_two_things_at_once(read, joint):
    assert read(f"walks {joint} waving with the left hand") == [(("walk", "wave-left-hand"), None)]


@pytest.mark.parametrize(
    ("length", "frames"),
    [
        ("3 seconds", 90), ("2.5s", 75), ("1,5 sec", 45), ("half a second", 15), ("a second", 30),
        ("two and a half seconds", 75), ("a minute and a half", 2700), ("half a minute", 900),
        ("60 frames", 60),
        ("twenty-five frames", 25), ("a couple of seconds", 60), ("one point five seconds", 45),
    ],
)  # fmt: skip
def test_lengths_in_words_and_numbers(read, length, frames):
    assert read(f"walks for {length}, then bows") == [(("walk",), frames), (("bow",), None)]
    assert read(f"for {length} she walks") == [(("walk",), frames)]
    assert read(f"walk, {length}") == [(("walk",), frames)]


@pytest.mark.parametrize("often", ["jumps twice", "jump two times", "two jumps", "jump x2", "jumps, again"])
def test_how_often(read, often):
    assert read(often) == [(("jump",), None)] * 2


def test_a_length_is_that_of_all_repeats(read):
    assert read("jumps three times for 6 seconds") == [(("jump",), 60)] * 3


def test_hands_and_steps_are_not_counted(read):
    assert read("raises two hands") == [(("raise-up-both-hands",), None)]
    assert read("walks 10 steps") == [(("walk",), None)]


@pytest.mark.parametrize(
    ("sentence", "style"),
    [
        ("walks happily", "happy"), ("tired, he walks", "exhausted"), ("walks, sad", "sad"),
        ("walks in a proud way", "proud"), ("walks like a child", "childish"),
        ("an old lady walks", "elderly"),
        ("walks gleefully", "happy"), ("walks slowly", "exhausted"), ("an old man walks slowly", "elderly"),
        ("walks not confidently", "not-confident"),
    ],
)  # fmt: skip
def test_styles(read, sentence, style):
    assert read(sentence) == [(("walk", f"style:{style}"), None)]


def test_a_man_is_no_style(read):
    assert read("a man walks") == [(("walk",), None)]


def test_who_acts_in_one_style_keeps_it(read):
    labels = [labels for labels, _ in read("a happy man runs and jumps")]
    assert labels == [("run", "style:happy"), ("jump", "style:happy")]


def test_a_second_style_is_named_as_left_out(reader):
    reading = reader.read("an angry happy man walks", FPS)
    assert reading.segments[0].labels == ("walk", "style:angry")
    assert reading.left_out == ("style:happy",)


@pytest.mark.parametrize(
    "sentence",
    [
        "he does not wave", "nobody walks", "walks without waving", "a horse runs", "three men dance",
        "they dance with each other", "the robot walks", "people run",
    ],
)  # fmt: skip
def test_negations_and_other_bodies_are_not_guessed(reader, sentence):
    with pytest.raises(NotUnderstoodError) as caught:
        reader.read(sentence, FPS)
    assert not caught.value.nearest


@pytest.mark.parametrize(
    "sentence", ["hops like a rabbit", "waves to the people", "kicks a dog", "walks without stopping"]
)
def test_others_may_be_objects(read, sentence):
    assert len(read(sentence)) == 1


def test_what_is_not_in_the_vocabulary_gets_the_three_nearest(reader, read):
    with pytest.raises(NotUnderstoodError, match="no action for 'kneels'") as caught:
        reader.read("she walks, then kneels", FPS)
    assert len(caught.value.nearest) == 3
    assert "squat" in caught.value.nearest
    chosen = read("she walks, then kneels", {caught.value.part: "squat"})
    assert chosen == [(("walk",), None), (("squat",), None)]


@pytest.mark.parametrize("sentence", ["", "   ", ", then and", "the", "...", "\n", "he", "\x00"])
def test_nothing_asked_for(reader, sentence):
    with pytest.raises(NotUnderstoodError):
        reader.read(sentence, FPS)


def test_an_endless_sentence_is_refused_at_once(reader):
    with pytest.raises(PoseGPTError, match="at most 2000 characters"):
        reader.read("walk then " * 10_000, FPS)


def test_every_own_name_and_style_has_a_description_and_phrases():
    book = bundled_phrases()
    for label in VOCABULARY:
        assert book.labels[label][0].endswith(".")
        assert len(book.labels[label]) >= 5


def test_stand_ins_are_labels_with_phrases():
    book = bundled_phrases()
    for label, others in book.instead.items():
        assert {label, *others} <= book.labels.keys()


def test_labels_of_ones_own_data_are_read_by_their_names():
    assert made_phrase("kick_left-2") == "kick left 2"
    reader = SentenceReader(["KickLeft", "kick_right", "moonWalk", "idle"])
    assert reader.read("a person kicks with the left leg", FPS).segments[0].labels == ("KickLeft",)
    assert reader.read("kicks right, then does the moon walk", FPS).segments[1].labels == ("moonWalk",)


def test_a_side_that_no_action_has_is_told():
    reader = SentenceReader(["wave", "KickLeft", "walk"])
    assert reader.read("walks, then waves with his left hand", FPS).left_out == ("left",)
    assert reader.read("kicks with the left leg", FPS).left_out == ()
    # Its phrases name both feet: neither is its own.
    assert SentenceReader(["kick-front"]).read("kicks with the right leg", FPS).left_out == ("right",)
    assert reader.read("an old man walks", FPS).left_out == ()


def test_texts_of_ones_own_data_are_phrases():
    own = {"take_07": ("someone stirs a pot of soup",)}
    assert phrases_for(["take_07"], own)["take_07"] == ("someone stirs a pot of soup", "take 07")
    assert Ranker(["take_07", "walk"], own).rank("stirring the soup").best.label == "take_07"


def test_babels_categories_are_told_apart():
    ranker = Ranker(["walk", "sit", "throw", "kick", "wave", "swim", "style:old"])
    for text, label in (("sits on a chair", "sit"), ("swims", "swim"), ("waves with the left hand", "wave")):
        assert ranker.rank(text).best.label == label


def test_a_vocabulary_without_actions_understands_nothing():
    assert Ranker(["style:old"]).rank("walk").best is None
    assert not Ranker([], of_styles=True).rank("old").matches
