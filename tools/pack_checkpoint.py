"""Pack a trained generator and its tokenizer for the package: half precision, no optimizer state.

python tools/pack_checkpoint.py runs/gpt/NAME --streaming runs/vqvae/ONLINE
"""

import argparse
import tempfile
from pathlib import Path

from data.label_lengths import label_facts
from data.store import find_store, open_store
from models.checkpoint import (
    PRETRAINED,
    STREAMING,
    TOKENIZER,
    find_checkpoint,
    load_gpt,
    load_vqvae,
    read_info,
    save_checkpoint,
)
from models.sampling.stream import load_streaming


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run or checkpoint folder of a generator")
    parser.add_argument("--streaming", type=Path, help="run of an OnlineVQVAE for the tokenizer's codes")
    parser.add_argument("--out", type=Path, default=PRETRAINED / "gpt", help="where to put it")
    parser.add_argument("--data", type=Path, help="its data set, for facts of labels that the run lacks")
    parser.add_argument("--licence", help="terms of the weights (default: those of what is replaced)")
    arguments = parser.parse_args()
    source = find_checkpoint(arguments.run, "gpt")
    gpt, info = load_gpt(source)
    vqvae, about = load_vqvae(source / TOKENIZER)
    licence = arguments.licence
    if licence is None and arguments.out.exists():
        licence = read_info(arguments.out).licence
    facts = info.label_facts
    if arguments.data:
        facts = label_facts(open_store(find_store(arguments.data, "train")))
    info = info.model_copy(update={"licence": licence or info.licence, "label_facts": facts})
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = Path(folder) / TOKENIZER
        save_checkpoint(tokenizer, about, vqvae.state_dict(), half=True)
        save_checkpoint(arguments.out, info, gpt.state_dict(), tokenizer, half=True)
    if arguments.streaming:
        online = load_streaming(source, arguments.streaming, "cpu").vqvae
        about = read_info(find_checkpoint(arguments.streaming, "vqvae"))
        save_checkpoint(arguments.out / STREAMING, about, online.state_dict(), half=True)
    size = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
    print(f"{arguments.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
