"""Time and peak memory of one pass over sequences of a thousand to a million tokens, each in a process of its own.

Hyena and modal filters go the way of `hyena.score`, within a number of bytes; attention takes its whole forward. All but Hyena
are timed as far as a pass takes no longer than a limit. Beside each, in the same process and in turn, run the model's matrix
products alone.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from hyena.bench.machine import available_bytes
from hyena.bench.ops import extrapolate
from hyena.bench.tables import size
from hyena.bench.timing import Spread
from hyena.configs.files import nearest
from hyena.errors import HyenaError
from hyena.models.budget import DEFAULT_MEMORY

LENGTHS = (1024, 4096, 16384, 65536, 262144, 1048576)


@dataclass(frozen=True)
class Method:
    """One way through a long sequence."""

    name: str
    label: str
    """The way in words."""
    letter: str
    """The mixer of every layer."""
    bounded: bool
    """Whether it is `hyena.score` within a number of bytes, or the whole forward."""
    always: bool = False
    """Whether it is timed however long it takes."""


METHODS = {
    method.name: method
    for method in (
        Method("hyena", "Hyena", "H", True, always=True),
        Method("modal", "modal filters", "R", True),
        Method("attention", "attention", "A", False),
    )
}


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    lengths: tuple[int, ...] = LENGTHS
    methods: tuple[str, ...] = tuple(METHODS)
    layers: int = 8
    width: int = 256
    rounds: int = 3
    seconds: float = 30.0
    """For each method and length; one round is made in any case."""
    longest: float = 60.0
    """Seconds that a pass of another method than Hyena may take; longer sequences are extrapolated."""
    max_memory: int = DEFAULT_MEMORY
    """Bytes beyond the weights that `hyena.score` may take."""
    threads: int = field(default_factory=torch.get_num_threads)

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        for name in ("layers", "width", "rounds", "threads", "max_memory"):
            if vars(self)[name] < 1:
                raise HyenaError(f"{name} is {vars(self)[name]}; pass at least 1")
        if not self.lengths or min(self.lengths) < 2:
            raise HyenaError(f"lengths are {', '.join(map(str, self.lengths)) or 'none'}; pass lengths of at least 2 tokens")
        if not self.seconds > 0 or not self.longest > 0:
            raise HyenaError(f"seconds is {self.seconds} and longest {self.longest}; pass numbers above 0")
        for name in self.methods:
            if name not in METHODS:
                raise HyenaError(f"there is no method {name!r}{nearest(name, METHODS)}; the methods: {', '.join(METHODS)}")


@dataclass(frozen=True)
class Row:
    """One method at one length."""

    method: str
    label: str
    """The method in words."""
    length: int
    seconds: Spread | None = None
    """Of one pass; None where it was not timed."""
    products: Spread | None = None
    """Seconds of the matrix products alone."""
    ratio: Spread | None = None
    """Times as long as those, formed in each round."""
    peak_bytes: int | None = None
    """The largest resident size of the process, everything included."""
    before_bytes: int | None = None
    """The same before the pass: Python, PyTorch, weights."""
    extrapolated: bool = False
    """Whether the seconds were computed and not measured."""
    reason: str | None = None
    """Why there is no time."""

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens a second."""
        return None if self.seconds is None else self.length / self.seconds.median

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"tokens_per_second": self.tokens_per_second}


Report = Callable[[int, int, str], None]
"""report(done, total, what is next)."""


def measure(settings: Settings, note: Callable[[str], None], report: Report) -> Iterator[Row]:
    """A row for each method and length, shortest first; note(text) gets what was left out."""
    known: dict[str, dict[int, float]] = {name: {} for name in settings.methods}
    cells = [(L, METHODS[name]) for L in sorted(set(settings.lengths)) for name in settings.methods]
    weights = [1 + L // 4096 for L, _ in cells]
    for i, (L, method) in enumerate(cells):
        report(sum(weights[:i]), sum(weights), f"{method.label}, {L:,} tokens")
        row = _row(method, L, settings, known[method.name])
        if row.reason is not None:
            note(f"{method.label} at {L:,} tokens is left out: {row.reason}")
        elif row.seconds is not None and not row.extrapolated:
            known[method.name][L] = row.seconds.median
        yield row
    report(sum(weights), sum(weights), "")


def _row(method: Method, L: int, settings: Settings, known: dict[int, float]) -> Row:
    """One method at one length, where it can be."""
    if not method.always and len(known) >= 2 and (guess := extrapolate(known, L)) > settings.longest:
        return Row(method.name, method.label, L, Spread(guess, guess, guess, 0), extrapolated=True)
    if not method.bounded:
        needed, available = whole_bytes(settings, L), available_bytes()
        if available is not None and needed > available:
            reason = f"it needs {size(needed)} of memory, {size(available)} are available"
            return Row(method.name, method.label, L, reason=reason)
    found = in_a_process(method, L, settings)
    seconds, products = found["seconds"], found["products"]
    ratios = [a / b for a, b in zip(seconds, products, strict=True)]
    time, alone, ratio = (Spread.of(values) for values in (seconds, products, ratios))
    return Row(method.name, method.label, L, time, alone, ratio, found["peak_bytes"], found["before_bytes"])


def whole_bytes(settings: Settings, L: int) -> int:
    """About what a whole forward holds at its peak: the stream, the hidden rows of an MLP twice, queries, keys and values."""
    return 4 * L * settings.width * (2 + 2 * 4 + 4)


def in_a_process(method: Method, L: int, settings: Settings) -> dict[str, Any]:
    """What `hyena.bench.length_child` prints, run for this; `HyenaError` where that fails."""
    order = json.dumps({"letter": method.letter, "bounded": method.bounded, "length": L} | asdict(settings))
    command = [sys.executable, "-m", "hyena.bench.length_child", order]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise HyenaError(f"{method.name} at {L} tokens could not be measured: status {done.returncode}, {last}")
    return json.loads(done.stdout.splitlines()[-1])
