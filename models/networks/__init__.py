"""The networks: tokenizer (VQ-VAE), generator (GPT), classifier, and the layers they are made of."""
