"""What the training loop trains: tokenizer, generator or classifier, with their losses and validations."""
