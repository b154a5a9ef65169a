"""Other people's characters: their skeletons, and our motion put on them."""
