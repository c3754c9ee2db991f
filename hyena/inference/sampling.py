"""From logits to the next token: forbidden symbols, temperature, top-k, top-p (arXiv 1904.09751); and every row's own dice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyena.errors import HyenaError

Seed = int | Sequence[int] | None
"""A number for all rows, a number for each, or none: PyTorch's global generator."""


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
    logits: Float[Tensor, "B V"],
    sampling: Sampling,
    allowed: Tensor,
    generator: torch.Generator | Sequence[torch.Generator] | None,
) -> Int[Tensor, "B"]:
    """Draw a token for each row of logits (B, V) among the ids `allowed` (A,); returns ids (B,).

    generator: one that all rows share, or one for each row, whose draws then do not depend on the others.
    """
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
    if generator is None or isinstance(generator, torch.Generator):
        drawn = torch.multinomial(probabilities, 1, generator=generator)
    else:
        rows = zip(probabilities.split(1), generator, strict=True)
        drawn = torch.cat([torch.multinomial(row, 1, generator=own) for row, own in rows])
    return allowed[order.gather(-1, drawn).squeeze(-1)]


def check_seed(seed: Seed, rows: int) -> None:
    """One clear line for what is no seed of so many rows."""
    if seed is None:
        return
    several = not isinstance(seed, int)
    seeds: Sequence[int] = seed if not isinstance(seed, int) else [seed]
    for each in seeds:
        if not isinstance(each, int) or not -(2**63) <= each < 2**64:
            raise HyenaError(f"seed is {each!r}: use a whole number of 64 bits")
    if several and len(seeds) != rows:
        raise HyenaError(f"seed lists {len(seeds)} numbers for {rows} rows: one a row is needed, or a single number")


def generators(seed: Seed, prompts: int, samples: int, device: torch.device) -> list[torch.Generator]:
    """A generator for each of prompts x samples rows, those of a prompt side by side.

    A list of seeds goes row by row. A single one is that of the first row; sample s of prompt p has one made of (seed, p, s):
    it depends on no other row. Without any, PyTorch's global generator gives the seeds.
    """
    if seed is None:
        seeds: Sequence[int] = torch.randint(2**63 - 1, (prompts * samples,)).tolist()
    elif isinstance(seed, int):
        seeds = [derived(seed, p, s) for p in range(prompts) for s in range(samples)]
    else:
        seeds = seed
    return [torch.Generator(device).manual_seed(each) for each in seeds]


def derived(seed: int, prompt: int, sample: int) -> int:
    """The seed of a row: near seeds share none, unlike seed + row."""
    if prompt == sample == 0:
        return seed
    return int(np.random.SeedSequence(seed % 2**64, spawn_key=(prompt, sample)).generate_state(1, np.uint64)[0])
