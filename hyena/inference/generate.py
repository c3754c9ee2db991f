"""`generate` and `stream`: ids in, ids out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hyena.data.streaming import stream_decoder
from hyena.errors import HyenaError
from hyena.inference.engine import Decoding, Work, check_work, draw
from hyena.inference.prompts import Lengths, Prompts
from hyena.inference.sampling import Sampling, Seed
from hyena.inference.sequences import drawable, tokenizer_of
from hyena.inference.stops import Stop, Stops, Watch
from hyena.models import LanguageModel
from hyena.models.budget import DEFAULT_MEMORY


def generate(
    model: LanguageModel,
    ids: Prompts,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: Seed = None,
    decoding: Decoding = "auto",
    allowed: Sequence[int] | None = None,
    *,
    lengths: Lengths = None,
    samples: int = 1,
    stop: Stop = (),
    max_memory: int | None = DEFAULT_MEMORY,
) -> Tensor | list[Tensor]:
    """Continue each prompt by up to max_new_tokens tokens. Returns ids, the prompts included.

    ids: one tensor (B, L), or a list of rows of any lengths (tensors, lists of ids), or a tensor padded on the right and
    `lengths` (B,). A single tensor without `lengths` and `stop` gives one (B, L + max_new_tokens); all else a list of tensors,
    one a row, each of its own length. A row does not depend on the others in the batch.

    temperature 0 takes the likeliest token; top_k and top_p narrow the choice. seed: the same seed draws the same tokens: one
    number, from which every row gets its own (the first has the number itself), or a list of one a row (none given: PyTorch's
    global generator). allowed: ids that may be drawn; none given: the `vocab_size` symbols that the model's tokenizer has,
    never the padding rows of the head.

    samples: rows that go on from each prompt, which is read once; they stand side by side. stop: ids, and texts in the model's
    tokenizer, at which a row ends; what is returned ends before them, with the last token that has no part in one.
    decoding: "cached", "tiled" or "epoched" name the engine of the long convolutions, "auto" chooses; "recompute" runs the
    whole sequence for every token. All draw the same. max_memory: bytes beside weights and state for reading the prompts.

    Raises `HyenaError` where prompt and new tokens exceed what the model takes, or an option has no meaning.
    """
    sampling = Sampling(temperature, top_k, top_p)
    work = check_work(
        model, ids, lengths, max_new_tokens, sampling, seed, decoding, _allowed(model, allowed, stop), samples, max_memory
    )
    stops = Stops.of(stop, work.legal)
    watches = watch(work, stops) if stops else None
    drawn = list(draw(work, watches))
    table = torch.stack(drawn, 1) if drawn else torch.empty(work.rows, 0, dtype=torch.int64, device=model.device)
    if isinstance(ids, Tensor) and lengths is None and watches is None:
        return _like(ids, torch.cat([torch.stack(work.prompts).repeat_interleave(samples, 0), table], 1), model)
    kept = [len(drawn)] * work.rows if watches is None else [each.kept for each in watches]
    rows = [torch.cat([work.prompts[i // samples], table[i, :n]]) for i, n in enumerate(kept)]
    given = [ids] * len(work.prompts) if isinstance(ids, Tensor) else ids
    return [_like(given[i // samples], row, model) for i, row in enumerate(rows)]


def _like(given: Tensor | Sequence[int], ids: Tensor, model: LanguageModel) -> Tensor:
    """Ids where a prompt was, and of its dtype where that holds every id of the vocabulary."""
    if not isinstance(given, Tensor):
        return ids.cpu()
    fits = torch.iinfo(given.dtype).max >= model.config.vocab_size - 1
    return ids.to(given.device, given.dtype if fits else torch.int64)


def _allowed(model: LanguageModel, allowed: Sequence[int] | None, stop: Stop) -> Sequence[int] | None:
    """What may be drawn; where texts are to end a row, nothing that the tokenizer cannot decode."""
    texts = any(each for each in ([stop] if isinstance(stop, int | str) else stop) if isinstance(each, str))
    return drawable(model, text=True) if texts and allowed is None and isinstance(model, LanguageModel) else allowed


def stream(
    model: LanguageModel,
    ids: Prompts,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    seed: Seed = None,
    decoding: Decoding = "auto",
    allowed: Sequence[int] | None = None,
    *,
    lengths: Lengths = None,
    samples: int = 1,
    stop: Stop = (),
    max_memory: int | None = DEFAULT_MEMORY,
) -> Iterator[Tensor]:
    """The tokens of `generate` as they are drawn: ids (B,) each. Arguments are checked before the first is asked for.

    With `stop` the tokens that make up a stop are among them, and a row that has stopped gives -1; it ends when all have.
    For text that ends before a stop see `stream_text`.
    """
    work = check_work(
        model, ids, lengths, max_new_tokens, sampling, seed, decoding, _allowed(model, allowed, stop), samples, max_memory
    )
    stops = Stops.of(stop, work.legal)
    return draw(work, watch(work, stops) if stops else None)


def watch(work: Work, stops: Stops, text: bool = False) -> list[Watch]:
    """One for each row. text: its text is wanted, whether or not a text ends it."""
    if not (text or stops.texts):
        return [Watch(stops, None) for _ in range(work.rows)]
    tokenizer = tokenizer_of(work.model)
    if work.legal[-1] >= tokenizer.vocab_size:
        last = tokenizer.vocab_size - 1
        raise HyenaError(
            f"allowed has id {work.legal[-1]}, which tokenizer {tokenizer.spec!r} has not: its ids are 0 .. {last}"
        )
    if tokenizer.spec == "dna":  # as prompts are: either case, and nothing that is no base
        stops = replace(stops, texts=tuple(tokenizer.decode(tokenizer.encode(text)) for text in stops.texts))
    prompts = [prompt[-8:].tolist() for prompt in work.prompts for _ in range(work.samples)]
    decoders: list[Callable[[int], str]] = [stream_decoder(tokenizer, prompt) for prompt in prompts]
    return [Watch(stops, decode) for decode in decoders]
