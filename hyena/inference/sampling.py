"""From logits to the next token: forbidden symbols, temperature, top-k, top-p (arXiv 1904.09751)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyena.errors import HyenaError


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn."""

    temperature: float = 1.0
    """Logits are divided by it; 0 takes the likeliest token."""
    top_k: int | None = None
    """Only the k likeliest tokens."""
    top_p: float | None = None
    """Only the fewest likeliest tokens whose probabilities reach p."""

    def __post_init__(self) -> None:
        """Reject values with no meaning."""
        if not self.temperature >= 0:
            raise HyenaError(f"temperature is {self.temperature}: use 0 for the likeliest token, or a number above it")
        if self.top_k is not None and self.top_k < 1:
            raise HyenaError(f"top_k is {self.top_k}: use at least 1, or none")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise HyenaError(f"top_p is {self.top_p}: use a number above 0 and up to 1, or none")


def sample(
    logits: Float[Tensor, "B V"], sampling: Sampling, allowed: Tensor, generator: torch.Generator | None
) -> Int[Tensor, "B"]:
    """Draw a token for each row of logits (B, V) among the ids `allowed` (A,); returns ids (B,)."""
    # Work on the allowed columns alone: a forbidden symbol cannot be drawn, whatever rounding does.
    scores = logits[:, allowed].to(torch.promote_types(logits.dtype, torch.float32))
    if not scores.amax(-1).isfinite().all():  # a single NaN is the greatest; -inf alone is an honest impossibility
        raise HyenaError("the model's logits are not finite: its weights are broken, or its precision is too low")
    if sampling.temperature == 0:
        return allowed[scores.argmax(-1)]
    # In float64 and below the likeliest, so that the smallest temperature neither overflows nor divides 0 by 0.
    scores = (scores - scores.amax(-1, keepdim=True)).double() / sampling.temperature
    scores, order = scores.sort(dim=-1, descending=True, stable=True)
    if sampling.top_k is not None:
        scores[:, sampling.top_k :] = -torch.inf
    probabilities = scores.softmax(-1)
    if sampling.top_p is not None:
        before = probabilities.cumsum(-1) - probabilities  # the likeliest token is always kept
        probabilities = probabilities.masked_fill(before >= sampling.top_p, 0)
    drawn = torch.multinomial(probabilities, 1, generator=generator)
    return allowed[order.gather(-1, drawn).squeeze(-1)]
