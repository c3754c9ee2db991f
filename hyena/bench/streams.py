"""The ways to decode that `decode` times: a model with a state, brought to a context and stepped token by token from there."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from hyena.models import LanguageModel
from hyena.models.state import Draft, ModelState
from hyena.modules import Attention, Hyena
from hyena.ops.decoding import Decoding
from hyena.ops.history import UNBOUNDED
from hyena.ops.lags import Lags

CHUNK = 2**16
"""Tokens that are read at a time where a context is read."""


@dataclass(frozen=True)
class Engine:
    """One way to decode."""

    name: str
    label: str
    """The way in words."""
    letter: str
    """The mixer of every layer."""
    decoding: Decoding = "auto"
    whole: int | None = None
    """Tokens between two large pieces of work: no fewer, or no fewer than a whole window, are a fair sample."""
    remembers: bool = True
    """Whether there is a state."""

    def steps(self, most: int) -> int:
        """Tokens in a window of at most so many: a whole number of portions where it holds one."""
        return most if self.whole is None or self.whole > most else self.whole


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("cached", "Hyena, cached", "H", "cached"),
        Engine("tiled", "Hyena, tiled", "H", "tiled", UNBOUNDED),
        Engine("epoched", "Hyena, epoched", "H", "epoched", 1024),
        Engine("modal", "modal filters", "R"),
        Engine("attention", "attention, KV cache", "A"),
        Engine("recompute", "Hyena, recomputed", "H", remembers=False),
    )
}


class Stream:
    """A model at the end of a context; `window` steps on from there, every time anew."""

    def __init__(self, engine: Engine, model: LanguageModel, context: int, ids: Tensor, state: ModelState | None):
        """ids (1, >= context + steps); state: after the first `context` of them, None for an engine without one."""
        self.engine, self.model, self.context = engine, model, context
        self._ids, self._state = ids, state

    @property
    def nbytes(self) -> int:
        """Bytes of the state."""
        return 0 if self._state is None else self._state.nbytes

    @torch.no_grad()
    def window(self, steps: int, seconds: float, least: int) -> list[float]:
        """Seconds of each of `steps` consecutive tokens; fewer, but `least`, where they have taken so many seconds."""
        step = self._step()
        times: list[float] = []
        while len(times) < steps and (len(times) < least or sum(times) < seconds):
            ids = self._ids[:, self.context + len(times)][:, None]
            began = time.perf_counter()
            step(ids)
            times.append(time.perf_counter() - began)
        return times

    @torch.no_grad()
    def logits(self) -> Tensor:
        """(1, V): what follows the first token after the context."""
        return self._step()(self._ids[:, self.context][:, None])[:, -1]

    def _step(self) -> Callable[[Tensor], Tensor]:
        """What reads one token (1, 1) and gives its logits, from the end of the context on."""
        if self._state is None:
            return self._recomputed()
        state = self._state.clone()

        def step(ids: Tensor) -> Tensor:
            nonlocal state
            logits, state = self.model.extend(ids, state)
            return logits

        return step

    def _recomputed(self) -> Callable[[Tensor], Tensor]:
        """The whole sequence for each token. Transforms of the filters that another length has displaced are made first."""
        backbone, read = self.model.backbone, self.context
        backbone(self._ids[:, : read + 1])

        def step(_: Tensor) -> Tensor:
            nonlocal read
            read += 1
            return self.model.logits(backbone(self._ids[:, :read])[:, -1:])

        return step


@torch.no_grad()
def remembered(model: LanguageModel, ids: Tensor, context: int, streams: list[tuple[Decoding, int]]) -> list[ModelState]:
    """A state after `context` tokens of ids for each (engine, most tokens of its stream).

    What the layers of a Hyena took in from up to `CHUNK` tokens is computed once and given to every engine; of longer contexts,
    and of attention, it is random numbers, after which a step takes the same time. Modal filters read `CHUNK` tokens at most.
    """
    if not streams:
        return []
    states = [model.init_state(1, max_length, decoding) for decoding, max_length in streams]
    letter = model.config.layers[0]
    if letter == "R":
        states = [model.backbone.extend(ids[:, : min(context, CHUNK)], state)[1] for state in states]
        for state in states:  # of the same size and the same work, however many tokens it is of
            state.position += context - min(context, CHUNK)
        return states
    new = _read(model, ids[:, :context]) if letter == "H" and context <= CHUNK else _drawn(model, context)
    return [model.commit(Draft(state, new, context)) for state in states]


def _read(model: LanguageModel, ids: Tensor) -> list[Any]:
    """What each layer takes in from ids: of its short convolution's inputs the last ones only."""
    found: list[Any] = []

    def read(mixer: Any, _: Any, new: tuple[Tensor, Tensor]) -> None:
        found.append((new[0][..., -mixer.config.short_taps :].clone(), new[1]))

    model.backbone.ahead(ids, model.init_state(1), read)
    return found


def _drawn(model: LanguageModel, context: int) -> list[Any]:
    """The same at random."""
    found: list[Any] = []
    for block in model.backbone.layers:
        mixer = block.mixer
        if isinstance(mixer, Attention):
            shape = 1, mixer.kv_heads, context, mixer.head_width
            found.append((torch.randn(shape), torch.randn(shape)))
        elif isinstance(mixer, Hyena):
            streams = torch.randn(1, mixer.in_proj.out_features, mixer.config.short_taps)
            found.append((streams, torch.randn(1, mixer.filter.groups, context)))
    return found


@torch.no_grad()
def seldom(model: LanguageModel, context: int, window: int) -> float:
    """Seconds a token of a tiled stream from `context` to twice that, which a window of its first tokens does not show.

    The first token pays for all that the context contributes to the rest, and tiles as long as the window or longer come a few
    times each. They are timed on one layer's channels and count for all.
    """
    channels = cast(Hyena, model.backbone.layers[0].mixer).filter.groups
    lags = Lags([lambda K: torch.randn(channels, K)], None, 2 * context)
    x = torch.randn(1, channels, context)
    total = _seconds(partial(lags.fill, x, 0, context))
    length = window
    while length <= context // 2:
        some = x[..., :length]
        total += context // (2 * length) * _seconds(partial(lags.fill, some, 0, length))
        length *= 2
    return total * len(model.backbone.layers) / context


def _seconds(work: Callable[[], object]) -> float:
    """The least of a few tries: others may be computing."""
    found = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)
