#!/bin/sh
# The judges of `posegpt eval` from motion capture, trained and packed: tools/pretrain_judge.sh MOCAP [OUT [BOX]]
# Interrupted, the same command goes on from its checkpoints. MINUTES=0.1 tries whether everything runs.
set -eu
mocap=$1
out=${2:-build}
box=${3:-models/pretrained}
bin=$(dirname "$0")/../.venv/bin
minutes=${MINUTES:-}

prepare() { # folder options...
  folder=$1
  shift
  [ -d "$folder" ] || "$bin/posegpt" prepare --bvh "$mocap" --amc "$mocap" --labels "$out/labels.json" \
    --out "$folder" --jobs 2 "$@"
}

train() { # name data minutes options...
  name=$1 data=$2 limit=${minutes:-$3}
  shift 3
  if [ -d "$out/runs/classifier/$name" ]; then set -- "$@" --resume; fi
  "$bin/posegpt" train classifier --data "$data" --out "$out/runs" --name "$name" --preset tiny \
    --minutes "$limit" --iter 200000 --eval-every 250 --eval-batches 100 --n-visu-to-save 0 \
    --train-batch-size 32 --learning-rate 1e-3 --weight-decay 0.05 "$@"
}

mkdir -p "$out"
"$bin/python" tools/label_mocap.py "$mocap" "$out/labels.json"
prepare "$out/dataset"
prepare "$out/dataset-b" --seed 1  # the second judge learns from other clips
train joints "$out/dataset" 30 --classif-method CNN --use-bm --hid-dim 128 --n-layers 5 --dropout 0.15 \
  --balance-actions 0.9 --seq-len 96
train parameters "$out/dataset-b" 15 --classif-method TR --hid-dim 96 --n-layers 3 --balance-actions 0.8
"$bin/python" tools/pack_classifier.py "$out/runs/classifier/joints" --second "$out/runs/classifier/parameters" \
  --data "$out/dataset" --out "$box/classifier"
