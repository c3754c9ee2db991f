"""hyena: train, save, load, generate with and reproduce long-convolution sequence models of the Hyena family."""

__version__ = "0.1.0"
