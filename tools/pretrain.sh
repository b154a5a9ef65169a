#!/bin/sh
# The bundled checkpoint from motion capture, by the recipe of models/pretrained/README.md: tools/pretrain.sh MOCAP [OUT [BOX]]
# Interrupted, the same command goes on. MINUTES=0.1 tries whether everything runs.
set -eu
mocap=$1
out=${2:-build}
box=${3:-models/pretrained}
bin=$(dirname "$0")/../.venv/bin
minutes=${MINUTES:-}

train() { # stage name minutes options...
  stage=$1 name=$2 limit=${minutes:-$3}
  shift 3
  if [ -d "$out/runs/$stage/$name" ]; then set -- "$@" --resume; fi
  "$bin/posegpt" train "$stage" --data "$out/dataset" --out "$out/runs" --name "$name" --preset tiny \
    --precision auto --minutes "$limit" --iter 200000 --eval-every 400 --n-visu-to-save 0 "$@"
}

mkdir -p "$out"
"$bin/python" tools/label_mocap.py "$mocap" "$out/labels.json"
[ -d "$out/dataset" ] || "$bin/posegpt" prepare --bvh "$mocap" --amc "$mocap" --labels "$out/labels.json" \
  --out "$out/dataset" --jobs 2
MINUTES="$minutes" "$(dirname "$0")/pretrain_judge.sh" "$mocap" "$out" "$box"
recipe=$(dirname "$0")/recipe
train vqvae mocap 150 --config "$recipe/tokenizer.yaml"
train gpt mocap 125 --config "$recipe/generator.yaml" --vqvae "$out/runs/vqvae/mocap"
train vqvae online 37 --config "$recipe/tokenizer.yaml" --model OnlineVQVAE --encoder "$out/runs/vqvae/mocap" --alpha-velocity 1.6 --alpha-acceleration 0.08
"$bin/python" tools/pack_checkpoint.py "$out/runs/gpt/mocap" --streaming "$out/runs/vqvae/online" \
  --out "$box/gpt"
"$bin/posegpt" eval guidance --data "$out/dataset" --gpt "$box/gpt" --classifier "$box/classifier" --keep
