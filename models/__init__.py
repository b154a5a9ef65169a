"""The model core: tensors in, tensors out. Knows no terminal, no renderer, no motion-capture format."""

__version__ = "0.1.0"
