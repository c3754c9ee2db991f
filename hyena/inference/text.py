"""`stream_text` and `generate_text`: text in, text out, of the model's tokenizer."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hyena.data.tokenizers import Tokenizer
from hyena.errors import HyenaError
from hyena.inference.engine import Decoding, Work, check_work, draw
from hyena.inference.generate import watch
from hyena.inference.sampling import Sampling, Seed
from hyena.inference.sequences import drawable, tokenizer_of
from hyena.inference.stops import Stop, Stops, Watch
from hyena.models import LanguageModel
from hyena.models.budget import DEFAULT_MEMORY


def stream_text(
    model: LanguageModel,
    prompts: Sequence[str | bytes],
    max_new_tokens: int,
    sampling: Sampling | None = None,
    seed: Seed = None,
    decoding: Decoding = "auto",
    allowed: Sequence[int] | None = None,
    *,
    samples: int = 1,
    stop: Stop = (),
    bos: int | None = None,
    max_memory: int | None = DEFAULT_MEMORY,
) -> Iterator[list[str | None]]:
    """For every token drawn the text that it makes certain, of each row; None for a row that has come to its end.

    Options as those of `generate`; allowed: none given, what the tokenizer calls legal (DNA models write A, C, G and T alone).
    bos: an id to put in front of each prompt, which may then be empty; none unless asked.
    A row's pieces are what follows its prompt, joined. They end before a stop; what may be the beginning of one is held back
    until it is not, and a character that is spread over tokens until it is whole.
    """
    work, watches = _begin(model, prompts, max_new_tokens, sampling, seed, decoding, allowed, samples, stop, bos, max_memory)
    return _pieces(work, watches)


def _pieces(work: Work, watches: list[Watch]) -> Iterator[list[str | None]]:
    """Texts, as they become certain."""
    ended = [False] * len(watches)
    for step, _ in enumerate(draw(work, watches), 1):
        pieces = [None if gone else each.take(last=step == work.count) for gone, each in zip(ended, watches, strict=True)]
        ended = [each.stopped for each in watches]
        yield pieces


def generate_text(
    model: LanguageModel,
    prompts: Sequence[str | bytes],
    max_new_tokens: int,
    sampling: Sampling | None = None,
    seed: Seed = None,
    decoding: Decoding = "auto",
    allowed: Sequence[int] | None = None,
    *,
    samples: int = 1,
    stop: Stop = (),
    bos: int | None = None,
    max_memory: int | None = DEFAULT_MEMORY,
) -> list[str]:
    """The texts of `stream_text`, each behind its prompt."""
    work, watches = _begin(model, prompts, max_new_tokens, sampling, seed, decoding, allowed, samples, stop, bos, max_memory)
    begin = 0 if bos is None else 1
    texts = [tokenizer_of(model).decode(prompt[begin:].tolist()) for prompt in work.prompts for _ in range(samples)]
    for pieces in _pieces(work, watches):
        texts = [text + (piece or "") for text, piece in zip(texts, pieces, strict=True)]
    return texts


def _begin(
    model: LanguageModel,
    prompts: Sequence[str | bytes],
    count: int,
    sampling: Sampling | None,
    seed: Seed,
    decoding: Decoding,
    allowed: Sequence[int] | None,
    samples: int,
    stop: Stop,
    bos: int | None,
    max_memory: int | None,
) -> tuple[Work, list[Watch]]:
    """Checked, with a watch for each row."""
    if not isinstance(model, LanguageModel):
        raise HyenaError(f"{type(model).__name__} does not generate: load a language model")
    if isinstance(prompts, str | bytes) or not prompts:
        raise HyenaError(f"prompts is {prompts!r}: pass a list of texts, [text] for a single one")
    tokenizer = tokenizer_of(model)
    ids = [_encoded(tokenizer, prompt, bos, i, len(prompts)) for i, prompt in enumerate(prompts)]
    if allowed is None:
        allowed = drawable(model, text=True)
        allowed = allowed if tokenizer.legal_ids is None else [i for i in tokenizer.legal_ids if i in allowed]
    work = check_work(model, ids, None, count, sampling, seed, decoding, allowed, samples, max_memory)
    return work, watch(work, Stops.of(stop, work.legal), text=True)


def _encoded(tokenizer: Tokenizer, prompt: str | bytes, bos: int | None, i: int, count: int) -> Tensor:
    """One prompt; `HyenaError` names it where there are several."""
    name = "the prompt" if count == 1 else f"prompt {i}"
    try:
        ids = torch.from_numpy(tokenizer.encode(prompt))
    except HyenaError as error:
        raise HyenaError(f"{name}: {error}") from None
    if bos is not None:
        return torch.cat([ids.new_tensor([bos]), ids])
    if not len(ids):
        raise HyenaError(f"{name} is empty: give at least one token to continue")
    return ids
