"""Time per token against context: every engine of the online convolution, modal filters, attention, and no state at all.

All engines at all contexts are brought to their context first; then they take turns, round after round, each in a window of
consecutive tokens from the end of its context, so that any two times can be compared within a round.
"""

import gc
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from hyena.bench.machine import available_bytes
from hyena.bench.sized import model_of, random_ids
from hyena.bench.streams import CHUNK, ENGINES, Engine, Stream, remembered, seldom
from hyena.bench.tables import size
from hyena.bench.timing import Samples, Spread, turned
from hyena.configs.files import nearest
from hyena.errors import HyenaError
from hyena.models import LanguageModel

CONTEXTS = (1024, 4096, 16384, 65536, 1048576)
_DIFFERENCE = 1e-3
"""Largest relative difference of two engines' logits before it is an error."""
_SPARE = 3
"""Times a state's bytes that must be available: itself, the copy that a window changes, and what reading the context takes."""


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    contexts: tuple[int, ...] = CONTEXTS
    """Tokens before the first that is timed."""
    engines: tuple[str, ...] = tuple(ENGINES)
    layers: int = 8
    width: int = 256
    steps: int = 4096
    """Consecutive tokens in a window; engines whose tokens all take the same stop after their seconds."""
    rounds: int = 3
    seconds: float = 3.0
    """For the window of an engine whose tokens all take the same; `least` are made in any case."""
    least: int = 8
    threads: int = field(default_factory=torch.get_num_threads)

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        for name in ("layers", "width", "rounds", "least", "threads"):
            if vars(self)[name] < 1:
                raise HyenaError(f"{name} is {vars(self)[name]}; pass at least 1")
        if self.steps < 2:
            raise HyenaError(f"steps is {self.steps}; pass at least 2")
        if not self.contexts or min(self.contexts) < 1:
            raise HyenaError(f"contexts are {', '.join(map(str, self.contexts)) or 'none'}; pass contexts of at least 1 token")
        if not self.seconds > 0:
            raise HyenaError(f"seconds is {self.seconds}; pass a number above 0")
        for name in self.engines:
            if name not in ENGINES:
                raise HyenaError(f"there is no engine {name!r}{nearest(name, ENGINES)}; the engines: {', '.join(ENGINES)}")


@dataclass(frozen=True)
class Row:
    """One engine at one context."""

    engine: str
    label: str
    """The engine in words."""
    context: int
    steps: int = 0
    """Tokens in a window."""
    mean: Spread | None = None
    """Seconds a token, the mean over a window; None where it was not timed."""
    median: float | None = None
    """Seconds of the median token."""
    worst: float | None = None
    """Seconds of the slowest token: of each the median over the rounds is taken first."""
    first: float | None = None
    """Of a tiled stream, seconds of the first token after the context; it is not in the mean."""
    seldom: float | None = None
    """Seconds a token that it takes over a stream as long again as its context, and that its window does not show."""
    state_bytes: int | None = None
    difference: float | None = None
    """Relative l2 distance of its first logits from those of the same model without a state."""
    reason: str | None = None
    """Why there is no time."""

    @property
    def total(self) -> float | None:
        """Seconds a token, all told."""
        return None if self.mean is None else self.mean.median + (self.seldom or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass
class Result:
    """All that was measured so far."""

    rows: list[Row]
    samples: Samples
    """Mean seconds a token, by "engine context"."""


Report = Callable[[int, int, str], None]
"""report(done, total, what is next)."""


def measure(settings: Settings, note: Callable[[str], None], report: Report) -> Iterator[Result]:
    """Time everything; what was found so far after each round. note(text) gets what was left out."""
    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    collecting = gc.isenabled()
    try:
        run = _Run(settings, note, report)
        gc.collect()
        gc.disable()
        yield from run.rounds()
    finally:
        torch.set_num_threads(before)
        if collecting:
            gc.enable()


class _Run:
    """One run: the streams, then the rounds."""

    def __init__(self, settings: Settings, note: Callable[[str], None], report: Report):
        self._settings, self._note, self._report = settings, note, report
        self._engines = [ENGINES[name] for name in settings.engines]
        self._contexts = sorted(set(settings.contexts), reverse=True)
        self._cells = len(self._engines) * len(self._contexts)
        self._streams: dict[str, Stream] = {}
        self._absent: list[Row] = []
        self._seldom: dict[str, float] = {}
        self._differences: dict[str, float] = {}
        self._times: dict[str, list[list[float]]] = {}
        self._samples = Samples()
        self._prepare()

    def _tell(self, stage: int, done: int, text: str) -> None:
        """How far it is: the preparation is a stage, and so is every round."""
        self._report(stage * self._cells + done, (self._settings.rounds + 2) * self._cells, text)

    def _prepare(self) -> None:
        """Models, contexts, states. The longest contexts first: the taps that they need serve all."""
        ids, done = random_ids(self._contexts[0] + self._settings.steps), 0
        for letter in dict.fromkeys(engine.letter for engine in self._engines):
            alike = [engine for engine in self._engines if engine.letter == letter]
            grid = min(self._contexts[0], CHUNK) + self._settings.steps
            model = model_of(letter, self._settings.layers, self._settings.width, grid)
            for context in self._contexts:
                self._tell(0, done, f"reading {context:,} tokens")
                self._at(model, [engine for engine in alike if self._fits(engine, model, context)], context, ids)
                done += len(alike)

    def _fits(self, engine: Engine, model: LanguageModel, context: int) -> bool:
        """Whether there is memory for it; else it is noted."""
        if not engine.remembers:
            reason = f"a whole forward is not run past {CHUNK:,} tokens" if context > CHUNK else None
        else:
            length, available = context + self._settings.steps, available_bytes()
            needed = _SPARE * model.state_bytes(length, engine.decoding)
            if engine.letter == "H":  # the taps, and the same backwards, are as long
                needed += 2 * model.state_bytes(length, "cached")
            short = available is not None and needed > available
            reason = f"it needs {size(needed)} of memory, {size(available or 0)} are available" if short else None
        if reason is not None:
            self._absent.append(Row(engine.name, engine.label, context, reason=reason))
            self._note(f"{engine.label} at {context:,} tokens is left out: {reason}")
        return reason is None

    def _at(self, model: LanguageModel, engines: list[Engine], context: int, ids: torch.Tensor) -> None:
        """The streams of one model at one context, held against the model without a state where that is asked for too."""
        steps = self._settings.steps
        states = iter(remembered(model, ids, context, [(e.decoding, context + e.steps(steps)) for e in engines if e.remembers]))
        streams = {e.name: Stream(e, model, context, ids, next(states) if e.remembers else None) for e in engines}
        if "tiled" in streams:
            self._seldom[_key("tiled", context)] = seldom(model, context, steps)
        if "recompute" in streams:
            expected = streams["recompute"].logits()
            for name, stream in streams.items():
                found = float((stream.logits() - expected).norm() / expected.norm())
                if not found < _DIFFERENCE:
                    raise HyenaError(f"{name} and recompute differ by {found:.2g} of the logits: they are not to be compared")
                self._differences[_key(name, context)] = found
        self._streams |= {_key(name, context): stream for name, stream in streams.items()}

    def rounds(self) -> Iterator[Result]:
        """Windows of all streams in turn; the first round does not count, and tells how many tokens fit the seconds."""
        names, settings = list(self._streams), self._settings
        steps = {key: stream.engine.steps(settings.steps) for key, stream in self._streams.items()}
        for i in range(settings.rounds + 1):
            found: dict[str, float] = {}
            for done, key in enumerate(turned(names, i)):
                engine = self._streams[key].engine
                self._tell(i + 1, done, f"{'round ' + str(i) if i else 'warming up'}: {key}")
                seconds = settings.seconds if engine.whole is None and not i else math.inf
                times = self._streams[key].window(steps[key], seconds, settings.least)
                steps[key] = len(times)
                if i:
                    self._times.setdefault(key, []).append(times)
                    found[key] = _mean(engine, times)
            if i:
                self._samples.rounds.append(found)
                yield Result(self._rows(), self._samples)
        self._tell(settings.rounds + 2, 0, "")

    def _rows(self) -> list[Row]:
        """A row an engine and context, by engine."""
        found = [*(self._row(key, stream) for key, stream in self._streams.items()), *self._absent]
        return sorted(found, key=lambda row: (self._settings.engines.index(row.engine), row.context))

    def _row(self, key: str, stream: Stream) -> Row:
        """Of each token the median over the rounds is taken before anything is said of single tokens."""
        engine, each = stream.engine, np.median(np.array(self._times[key]), axis=0)
        first = engine.name == "tiled"
        return Row(
            engine.name,
            engine.label,
            stream.context,
            len(each),
            self._samples.seconds(key),
            float(np.median(each)),
            float(each[int(first) :].max()),
            float(each[0]) if first else None,
            self._seldom.get(key),
            stream.nbytes if engine.remembers else None,
            self._differences.get(key),
        )


def _key(engine: str, context: int) -> str:
    """How a stream is called."""
    return f"{engine} {context}"


def _mean(engine: Engine, times: list[float]) -> float:
    """Mean seconds a token; of a tiled stream without its first, which works ahead for more than the window."""
    some = times[1:] if engine.name == "tiled" else times
    return sum(some) / len(some)


def flatness(result: Result, engine: str) -> Spread | None:
    """Times as long as an engine takes at its slowest context as at its fastest, by the medians."""
    names = [_key(row.engine, row.context) for row in result.rows if row.engine == engine and row.mean is not None]
    if len(names) < 2:
        return None
    by_time = sorted(names, key=lambda name: result.samples.seconds(name).median)
    return result.samples.ratio(by_time[-1], by_time[0])


def ratio(result: Result, slow: tuple[str, int], fast: tuple[str, int]) -> Spread | None:
    """Times as long as one (engine, context) takes as another, formed in each round; None where one was not timed."""
    names = _key(*slow), _key(*fast)
    if not all(any(name in each for each in result.samples.rounds) for name in names):
        return None
    return result.samples.ratio(*names)
