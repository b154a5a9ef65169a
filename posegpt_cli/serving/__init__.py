"""`posegpt serve`: a page to play with the generator, its HTTP API, and MMCP for other programs."""
