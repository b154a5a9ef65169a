"""A generator that is trained on texts follows sentences that it has not seen."""

import numpy as np
import pytest
import torch

from data.synthetic import TEXTS, make_store
from data.training_data import open_training_data
from models.checkpoint import load_gpt, read_info
from models.errors import PoseGPTError
from models.networks.condition import Condition
from models.networks.config import GPTConfig, VQVAEConfig
from models.networks.gpt import GPT
from models.sampling import generate
from models.sampling.settings import SamplingSettings, Segment
from models.text.encoder import load_encoder
from models.training.config import GPTRun, VQVAERun
from models.training.train import train as run_training

UNSEEN = {
    "walk": "a man is taking a stroll",
    "run": "sprinting ahead quickly",
    "wave": "waves hi with a hand",
    "bow": "bends forward at the waist politely",
    "squat": "a deep squat with bent knees",
    "turn": "rotating around on the spot",
}
SMALL = {"learning_rate": 2e-3, "train_batch_size": 32, "seq_len": 32, "warmup": 20, "eval_batches": 2}


def train(run, data):
    folder = run.out / ("vqvae" if isinstance(run, VQVAERun) else "gpt") / "default"
    run_training(run, folder, open_training_data(run, data))
    return folder


def test_the_unseen_sentences_are_unseen():
    for action, sentence in UNSEEN.items():
        assert sentence not in TEXTS[action]


@pytest.mark.slow
def test_a_generator_trained_on_texts_follows_unseen_paraphrases(tmp_path):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = make_store(tmp_path / "data", 120)
    vqvae = VQVAEConfig(n_codebook=2, n_e=64, e_dim=32, hid_dim=48, n_layers=1, heads=2, n_convs=1)
    tokenizer = train(
        VQVAERun(out=tmp_path, network=vqvae, iter=250, eval_every=250, n_visu_to_save=0, **SMALL), data
    )
    gpt = GPTConfig(gpt_nlayer=2, gpt_nhead=2, gpt_nembd=48, class_conditional=False, gpt_embd_pdrop=0.0)
    run = GPTRun(
        out=tmp_path, network=gpt, vqvae=tokenizer, text=True, iter=400, eval_every=400, n_visu_to_save=0,
        join_share=0.0, token_copies=0, **SMALL,
    )  # fmt: skip
    folder = train(run, data)
    generator = generate.load_generator(folder, "cpu")
    assert generator.gpt.config.text_vectors == "words"

    # Of six unseen sentences the right one makes the true tokens likeliest, far more often than by chance.
    batch = next(iter(open_training_data(run, data).val.eval_batches()))
    codes = generator.vqvae.encode(batch.poses, batch.trans, batch.length)
    length = -(-batch.length // generator.vqvae.config.factor)
    vectors = torch.from_numpy(load_encoder("words").encode([*UNSEEN.values()]))
    likelihood = []
    for vector in vectors:
        condition = Condition.of(torch.zeros(len(codes), len(generator.labels)), length)
        condition = condition.with_text(vector.expand(len(codes), 1, -1))
        with torch.no_grad():
            logits = generator.gpt(codes, condition).log_softmax(-1)
        likelihood.append(logits.gather(-1, codes[..., None])[..., 0].mean((1, 2)))
    chosen = torch.stack(likelihood).argmax(0).numpy()
    true = (
        batch.labels[:, 0].argmax(-1).numpy() if batch.labels.dim() == 3 else batch.labels.argmax(-1).numpy()
    )
    names = np.array([*UNSEEN])[chosen]
    accuracy = float((names == np.array(generator.labels)[true]).mean())
    assert accuracy >= 0.5, accuracy

    # And what is generated from them moves as it should.
    settings = SamplingSettings(n=4, seed=1)
    ways = {}
    for action in ("run", "squat"):
        motions = generate.sample(generator, [], 32, settings, text=UNSEEN[action])
        ways[action] = np.mean([np.linalg.norm((m.trans[-1] - m.trans[0])[::2]) for m in motions])
    assert ways["run"] > 2 * ways["squat"], ways


@pytest.fixture(scope="module")
def text_gpt():
    torch.manual_seed(0)
    config = GPTConfig(
        codes_per_book=8,
        n_labels=3,
        gpt_nlayer=1,
        gpt_nhead=2,
        gpt_nembd=16,
        text_dim=64,
        text_vectors="words",
    )
    return GPT(config).eval()


def condition_of(gpt, n=2, text=None):
    condition = Condition.of(torch.eye(3)[:n], torch.full((n,), 4))
    return condition if text is None else condition.with_text(text)


def test_a_text_changes_what_follows_and_a_hidden_one_does_not(text_gpt):
    codes = torch.zeros(2, 4, 2, dtype=torch.long)
    text = torch.nn.functional.normalize(torch.randn(2, 1, 64), dim=-1)
    plain = text_gpt(codes, condition_of(text_gpt))
    told = text_gpt(codes, condition_of(text_gpt, text=text))
    silent = text_gpt(codes, condition_of(text_gpt, text=torch.zeros_like(text)))
    hidden = condition_of(text_gpt, text=text).hidden()
    unlabelled = condition_of(text_gpt).hidden()
    assert not torch.allclose(plain, told)
    torch.testing.assert_close(plain, silent)
    torch.testing.assert_close(text_gpt(codes, hidden), text_gpt(codes, unlabelled))


def test_texts_of_tokens_are_cut_with_them(text_gpt):
    per_token = torch.randn(2, 4, 64)
    cut = condition_of(text_gpt, text=per_token).from_token(2)
    torch.testing.assert_close(cut.text, per_token[:, 2:])
    assert condition_of(text_gpt, text=per_token[:, :1]).from_token(2).text.shape == (2, 1, 64)


def test_labels_or_text_alone_are_learned(text_gpt):
    torch.manual_seed(0)
    n = 2000
    condition = Condition.of(torch.ones(n, 3), torch.full((n,), 4)).with_text(torch.randn(n, 1, 64))
    hidden = text_gpt._hide(condition)
    both = (hidden.hide_labels & hidden.hide_text).float().mean()
    only_text = (hidden.hide_labels & ~hidden.hide_text).float().mean()
    only_labels = (~hidden.hide_labels & hidden.hide_text).float().mean()
    assert abs(both - 0.1) < 0.03
    assert abs(only_text - 0.45) < 0.05
    assert abs(only_labels - 0.225) < 0.05


def test_a_network_without_texts_has_the_weights_that_it_had():
    names = {name for name, _ in GPT(GPTConfig(gpt_nlayer=1, gpt_nhead=2, gpt_nembd=16)).named_parameters()}
    assert not {name for name in names if "text" in name}


def test_labels_are_refused_a_text(small_generator):
    generator = generate.load_generator(small_generator, "cpu")
    with pytest.raises(PoseGPTError, match="not trained on texts"):
        generate.sample(generator, ["walk"], 8, text="a person walks")


def test_a_timeline_of_texts_is_called_by_them():
    assert Segment((), 8, text="a person walks").names == ("a person walks",)
    assert Segment(("walk",), 8, text="a person walks").names == ("walk",)


def test_info_tells_that_texts_were_learned(small_generator):
    network, info = load_gpt(small_generator, "cpu")
    assert network.config.text_dim == 0
    assert read_info(small_generator).phrases == info.phrases == {}
