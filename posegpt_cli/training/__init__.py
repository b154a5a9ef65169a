"""What `posegpt train` shows: live figures, curves, preview videos."""
