"""The loop under `generate`: prompts are read once, then all rows go on token by token; a row that stopped leaves the batch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hyena.errors import HyenaError
from hyena.inference.prefill import chunk_tokens, prefill
from hyena.inference.prompts import Lengths, Prompts, as_prompts, check_room
from hyena.inference.sampling import Sampling, Seed, check_seed, generators, sample
from hyena.inference.sequences import drawable
from hyena.inference.stops import Watch
from hyena.models import LanguageModel
from hyena.models.modes import evaluating

Decoding = Literal["auto", "cached", "tiled", "epoched", "recompute"]
"""How past tokens are used: by an engine of the long convolutions on a state, or the whole sequence again for every token."""
NOTHING = -1
"""In place of a token, for a row that stopped earlier."""


@dataclass(frozen=True)
class Work:
    """What is to be drawn, checked."""

    model: LanguageModel
    prompts: list[Tensor]
    count: int
    sampling: Sampling
    seed: Seed
    decoding: str
    legal: list[int]
    """Ids that may be drawn."""
    samples: int
    """Rows that go on from each prompt, side by side."""
    max_memory: int | None

    @property
    def rows(self) -> int:
        """B: of all prompts."""
        return len(self.prompts) * self.samples


def check_work(
    model: LanguageModel,
    ids: Prompts,
    lengths: Lengths,
    count: int,
    sampling: Sampling | None,
    seed: Seed,
    decoding: str,
    allowed: Iterable[int] | None,
    samples: int,
    max_memory: int | None,
) -> Work:
    """One clear line before anything is computed."""
    if not isinstance(model, LanguageModel):
        raise HyenaError(f"{type(model).__name__} does not generate: load a language model")
    if decoding not in get_args(Decoding):
        raise HyenaError(f"unknown decoding {decoding!r}: use {', '.join(map(repr, get_args(Decoding)))}")
    prompts = as_prompts(model, ids, lengths)
    if samples < 1:
        raise HyenaError(f"samples is {samples}: use at least 1")
    check_seed(seed, len(prompts) * samples)
    check_room(model, max(map(len, prompts)), count)
    most = model.config.vocab_size
    legal = list(drawable(model)) if allowed is None else sorted(set(allowed))
    if not legal or legal[0] < 0 or legal[-1] >= most:
        raise HyenaError(f"allowed is {legal[:8]}: ids from 0 to {most - 1} are needed, at least one")
    if decoding != "recompute":
        chunk_tokens(model, prompts, max_memory)
    return Work(model, prompts, count, sampling or Sampling(), seed, decoding, legal, samples, max_memory)


class Reader(Protocol):
    """Reads prompts, then tokens, and keeps what it needs to go on."""

    def begin(self, work: Work) -> tuple[Float[Tensor, "B D"], list[int]]:
        """The last hidden state of every row, and which of the work's rows each is."""
        ...

    def keep(self, rows: list[int]) -> None:
        """Forget all rows but these."""
        ...

    def follow(self, tokens: Tensor) -> Float[Tensor, "B D"]:
        """The hidden state after one more token (B,) of each row."""
        ...


def reader(work: Work) -> Reader:
    """The one that `decoding` names."""
    return Recompute(work.model) if work.decoding == "recompute" else OnState(work.model)


class OnState:
    """Goes on from a state."""

    def __init__(self, model: LanguageModel):
        """Nothing read yet."""
        self.model = model

    def begin(self, work: Work) -> tuple[Tensor, list[int]]:
        """Prompts once, whatever the number of samples."""
        longest = max(map(len, work.prompts)) + work.count - 1  # the last token drawn is never read
        read = prefill(self.model, work.prompts, longest, work.decoding, work.max_memory)
        if work.samples == 1:
            self.state = read.state
            return read.hidden, read.places
        n = work.samples
        self.state = read.state.select([row for row in range(len(read.places)) for _ in range(n)])
        return read.hidden.repeat_interleave(n, 0), [place * n + s for place in read.places for s in range(n)]

    def keep(self, rows: list[int]) -> None:
        """A smaller state: rows that stopped cost nothing."""
        self.state = self.state.select(rows)

    def follow(self, tokens: Tensor) -> Tensor:
        """One step."""
        hidden, self.state = self.model.backbone.extend(tokens[:, None], self.state)
        return hidden[:, -1]


class Recompute:
    """Runs the whole of every sequence again for each token: the definition of right."""

    def __init__(self, model: LanguageModel):
        """Nothing read yet."""
        self.model = model
        self.rows: list[Tensor] = []

    def begin(self, work: Work) -> tuple[Tensor, list[int]]:
        """All rows, in order."""
        self.rows = [prompt for prompt in work.prompts for _ in range(work.samples)]
        return self._hidden(), list(range(work.rows))

    def keep(self, rows: list[int]) -> None:
        """Drop the others."""
        self.rows = [self.rows[row] for row in rows]

    def follow(self, tokens: Tensor) -> Tensor:
        """Append, and again."""
        self.rows = [torch.cat([row, token[None]]) for row, token in zip(self.rows, tokens, strict=True)]
        return self._hidden()

    def _hidden(self) -> Tensor:
        """Padding on the right reaches no token before it."""
        ends = torch.tensor([len(row) - 1 for row in self.rows], device=self.model.device)
        hidden = self.model.backbone(nn.utils.rnn.pad_sequence(self.rows, batch_first=True))
        return hidden[torch.arange(len(ends), device=ends.device), ends]


def draw(work: Work, watches: list[Watch] | None = None) -> Iterator[Tensor]:
    """Tokens (B,), one for each row, `NOTHING` for those that stopped earlier; ends when all have, or after `count`.

    watches: of each row, told its tokens before they are yielded; none given: no row stops. The model is in evaluation mode
    while a token is computed and as it was in between.
    """
    model, read = work.model, reader(work)
    allowed = torch.tensor(work.legal, device=model.device)
    dice = generators(work.seed, len(work.prompts), work.samples, model.device) if work.sampling.temperature else None
    places: list[int] = []
    tokens = torch.empty(0)
    for step in range(work.count):
        with evaluating(model), torch.no_grad():
            if step == 0:
                hidden, places = read.begin(work)
            else:
                hidden = read.follow(tokens)
            logits = model.logits(hidden[:, None])[:, 0]
            tokens = sample(logits, work.sampling, allowed, None if dice is None else [dice[place] for place in places])
        everyone = torch.full((work.rows,), NOTHING, device=tokens.device)
        everyone[places] = tokens
        going = list(range(len(places))) if watches is None else _going([watches[place] for place in places], tokens)
        yield everyone
        if not going:
            return
        if len(going) < len(places) and step + 1 < work.count:
            read.keep(going)
            tokens, places = tokens[going], [places[row] for row in going]


def _going(watches: list[Watch], tokens: Tensor) -> list[int]:
    """Tell each row's watch its token; which rows go on."""
    for each, token in zip(watches, tokens.tolist(), strict=True):
        each.add(token)
    return [row for row, each in enumerate(watches) if not each.stopped]
