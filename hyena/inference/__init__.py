"""FLOOR 5: what a trained model is used for: generation, sampling, scoring, embedding, distillation."""

from hyena.inference.continuations import Continuation, continuations
from hyena.inference.distillation import distill
from hyena.inference.embed import embed
from hyena.inference.generate import generate, stream
from hyena.inference.sampling import Sampling
from hyena.inference.score import Score, score
from hyena.inference.text import generate_text, stream_text

__all__ = [
    "Continuation",
    "Sampling",
    "Score",
    "continuations",
    "distill",
    "embed",
    "generate",
    "generate_text",
    "score",
    "stream",
    "stream_text",
]
