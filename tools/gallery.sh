#!/bin/sh
# The pictures of the README, by the bundled checkpoint: tools/gallery.sh [OUT]
set -eu
out=${1:-docs/images}
posegpt=$(dirname "$0")/../.venv/bin/posegpt
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

sample() { # name options...
  name=$1
  shift
  "$posegpt" sample "$@" --force --out "$made/$name.npz"
}

# A dozen actions, moving.
set --
n=0
while read -r action seed frames; do
  n=$((n + 1))
  name=$(printf '%02d' $n)
  sample "$name" --action "$action" --seed "$seed" --len "$frames"
  set -- "$@" "$made/$name.npz" --title "$action"
done <<ACTIONS
walk 1 96
run 1 96
wave-both-hands 3 128
squat 3 48
throw-basketball 3 96
kick-front 3 54
lie-down 3 128
deposit-floor 3 88
grab-high 3 64
elbow-to-knee 3 40
hop-both-legs 3 24
bow 3 120
ACTIONS
"$posegpt" render "$@" --size 720x696 --fps 10 --force --out "$out/actions.gif"

# A sentence.
"$posegpt" sample "an old man walks slowly for 3 seconds, then waves with his left hand" --seed 0 --sheet-frames 8 \
  --size 180x240 --force --out "$out/story.png"

# Trails: two actions, one action in two styles, four futures of one past.
trails="--trail 7 --size 1440x400 --force"
sample walk --action walk --len 64 --seed 2
sample run --action run --len 45 --seed 4
"$posegpt" render "$made/walk.npz" "$made/run.npz" --title walk --title run $trails --out "$out/walk_run.png"
sample elderly --action walk --style elderly --len 80 --seed 2
sample happy --action walk --style happy --len 80 --seed 2
"$posegpt" render "$made/elderly.npz" "$made/happy.npz" --title "walk, elderly" --title "walk, happy" $trails \
  --out "$out/styles.png"
"$posegpt" forecast "$made/elderly.npz" --past-frames 16 --action run --len 64 -n 4 --seed 1 $trails --out "$out/futures.png"

"$posegpt" sample --timeline "walk 2s, jump 1.5s, wave-both-hands 2s, walk 2s" --seed 3 --sheet-frames 8 \
  --size 180x240 --force --out "$out/timeline.png"

# Three characters doing one motion.
for character in human-male kenney human-skeleton; do
  "$posegpt" render "$made/run.npz" --rig "$(dirname "$0")/../tests/data/characters/$character.glb" --trail 4 --size 480x400 --force \
    --out "$made/$character.png"
done
"$(dirname "$posegpt")/python" - "$made" "$out/characters.png" <<GLUE
import sys
from PIL import Image
names = ("human-male", "kenney", "human-skeleton")
pictures = [Image.open(f"{sys.argv[1]}/{name}.png") for name in names]
row = Image.new("RGB", (480 * len(pictures), 400))
for k, picture in enumerate(pictures):
    row.paste(picture, (480 * k, 0))
row.save(sys.argv[2], optimize=True)
GLUE
