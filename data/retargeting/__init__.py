"""From the skeleton of a recording to SMPL."""
