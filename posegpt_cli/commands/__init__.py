"""One module a command; each imports its heavy parts only when it runs, so that help stays fast."""
