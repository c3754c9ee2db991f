"""Generation, one token after the other. `recompute` runs the whole sequence for every token: the definition of right."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from hyena.errors import HyenaError
from hyena.inference.sampling import Sampling, sample
from hyena.models import LanguageModel

Decoding = Literal["auto", "recompute"]


def generate(
    model: LanguageModel,
    ids: Int[Tensor, "B L"],
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    decoding: Decoding = "auto",
    allowed: Sequence[int] | None = None,
) -> Int[Tensor, "B T"]:
    """Continue each row of ids (B, L) by max_new_tokens tokens; returns (B, L + max_new_tokens), the prompt included.

    temperature 0 takes the likeliest token; top_k and top_p narrow the choice. seed: the same seed draws the same tokens
    (none given: PyTorch's global generator). allowed: ids that may be drawn; none given: all `vocab_size` symbols, never the
    padding rows of the head. decoding: how past tokens are used; "auto" chooses (today there is "recompute" alone).

    Raises `HyenaError` where prompt and new tokens exceed what the model takes, or an option has no meaning.
    """
    tokens = stream(model, ids, max_new_tokens, Sampling(temperature, top_k, top_p), seed, decoding, allowed)
    # A byte tensor cannot hold every id of a large vocabulary.
    dtype = ids.dtype if torch.iinfo(ids.dtype).max >= model.config.vocab_size else torch.int64
    return torch.cat([ids.to(dtype), *(token[:, None].to(ids.device, dtype) for token in tokens)], dim=1)


def stream(
    model: LanguageModel,
    ids: Int[Tensor, "B L"],
    max_new_tokens: int,
    sampling: Sampling | None = None,
    seed: int | None = None,
    decoding: Decoding = "auto",
    allowed: Sequence[int] | None = None,
) -> Iterator[Tensor]:
    """The tokens of `generate` as they are drawn: ids (B,) each. Arguments are checked before the first is asked for."""
    _check(model, ids, max_new_tokens, seed, decoding)
    legal = range(model.config.vocab_size) if allowed is None else sorted(set(allowed))
    if not legal or legal[0] < 0 or legal[-1] >= model.config.vocab_size:
        raise HyenaError(f"allowed is {list(legal)[:8]}: ids from 0 to {model.config.vocab_size - 1} are needed, at least one")
    generator = None if seed is None else torch.Generator(model.device).manual_seed(seed)
    columns = torch.tensor(legal, device=model.device)
    return _tokens(model, ids.long().to(model.device), max_new_tokens, sampling or Sampling(), generator, columns)


def _tokens(
    model: LanguageModel, ids: Tensor, count: int, sampling: Sampling, generator: torch.Generator | None, allowed: Tensor
) -> Iterator[Tensor]:
    """Draw `count` tokens, the model in evaluation mode for each of them and as it was between."""
    for _ in range(count):
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                logits = model.logits(model.backbone(ids)[:, -1:])[:, 0]
                token = sample(logits, sampling, allowed, generator)
        finally:
            model.train(training)
        ids = torch.cat([ids, token[:, None]], dim=1)
        yield token


def _check(model: LanguageModel, ids: Tensor, count: int, seed: int | None, decoding: str) -> None:
    """One clear line before any work is done."""
    if not isinstance(model, LanguageModel):
        raise HyenaError(f"{type(model).__name__} does not generate: load a language model")
    if decoding not in ("auto", "recompute"):
        raise HyenaError(f"unknown decoding {decoding!r}: use 'auto' or 'recompute'")
    if ids.ndim != 2 or ids.is_floating_point() or 0 in ids.shape:
        raise HyenaError(f"ids must be whole numbers (B, L) with at least one token, got {ids.dtype} {tuple(ids.shape)}")
    if count < 0:
        raise HyenaError(f"max_new_tokens is {count}: use 0 or more")
    if seed is not None and not -(2**63) <= seed < 2**64:
        raise HyenaError(f"seed is {seed}: use a whole number of 64 bits")
    prompt = ids.shape[1]
    for name, limit in model.backbone.limits().items():
        if prompt + count - 1 > limit:  # the last token drawn is never read
            raise HyenaError(
                f"a prompt of {prompt} tokens and {count} new ones exceed the model's {name} {limit}: ask for at most "
                f"{max(0, limit - prompt + 1)}, shorten the prompt, or use a model with another {name} or `beyond`"
            )
    for block in model.backbone.layers:
        block.mixer.check_length(prompt + count - 1)
