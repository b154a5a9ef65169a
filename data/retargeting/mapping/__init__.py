"""Which joint of a file plays which of SMPL's."""
