"""FLOOR 5: what a trained model is used for: generation and sampling."""

from hyena.inference.generate import generate, stream
from hyena.inference.sampling import Sampling

__all__ = ["Sampling", "generate", "stream"]
