"""Times of several ways to do one thing, side by side: interleaved rounds, medians and quartiles, ratios within a round.

A machine drifts: its clock rate, its neighbours, its caches. So every round times each candidate once, in an order that turns
from round to round, and a ratio is formed within each round before the median is taken. Warm-up rounds do not count. A call
too short for the clock is repeated within its sample. A candidate that has used up its seconds leaves after a few rounds.
"""

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

Sampler = Callable[[int], float]
"""Does the work that many times and returns the seconds that took."""

SHORT, LEAST_SAMPLE, MOST_CALLS = 2e-3, 5e-3, 10_000
"""Seconds: a call shorter than the first is repeated until its sample lasts about the second, at most the third often."""


@dataclass(frozen=True)
class Spread:
    """What repeated measurements come to."""

    median: float
    lower: float
    """Lower quartile."""
    upper: float
    """Upper quartile."""
    count: int
    """Measurements."""

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Median and quartiles (linear between neighbours) of at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, lower, upper, len(values))

    def scaled(self, factor: float) -> "Spread":
        """The same in another unit."""
        return Spread(self.median * factor, self.lower * factor, self.upper * factor, self.count)


@dataclass
class Samples:
    """Seconds a call, round by round; who had left holds no entry in a round."""

    rounds: list[dict[str, float]] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    """Calls within a sample."""

    def seconds(self, name: str) -> Spread:
        """Seconds a call of one candidate."""
        return Spread.of([each[name] for each in self.rounds if name in each])

    def ratio(self, name: str, over: str) -> Spread:
        """How many times as long `name` takes as `over`: formed in each round that has both, then summarised."""
        return Spread.of([each[name] / each[over] for each in self.rounds if name in each and over in each])


def sampler(
    work: Callable[[], object],
    clock: Callable[[], float] = time.perf_counter,
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Sampler:
    """Work in this process as a `Sampler`; it runs inside what `around` makes, entered outside of the measured time."""

    def sample(calls: int) -> float:
        with around():
            began = clock()
            for _ in range(calls):
                work()
            return clock() - began

    return sample


def calls_for(seconds: float) -> int:
    """Calls within a sample for a call of so many seconds."""
    return 1 if seconds >= SHORT else min(MOST_CALLS, math.ceil(LEAST_SAMPLE / max(seconds, 1e-9)))


def interleave(
    candidates: Mapping[str, Sampler], rounds: int = 9, seconds: float = 3.0, least: int = 3, warm_up: int = 1
) -> Samples:
    """Time the candidates in turn, `rounds` times; one that has spent `seconds` leaves after its `least` rounds.

    The garbage collector waits meanwhile: its pauses would hit one candidate for the litter of all.
    """
    found = Samples()
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for name, sample in candidates.items():
            found.calls[name] = _warm(sample, warm_up)
        spent = dict.fromkeys(candidates, 0.0)
        for i in range(rounds):
            taking = [name for name in turned(list(candidates), i) if i < least or spent[name] < seconds]
            if not taking:
                break
            times = {name: candidates[name](found.calls[name]) for name in taking}
            for name, each in times.items():
                spent[name] += each
            found.rounds.append({name: each / found.calls[name] for name, each in times.items()})
    finally:
        if collecting:
            gc.enable()
    return found


def _warm(sample: Sampler, rounds: int) -> int:
    """Run a candidate before it counts; the calls that its samples will hold. A first call says little of the next."""
    first = sample(1)
    if first >= 10 * SHORT:
        for _ in range(rounds - 1):
            sample(1)
        return 1
    calls = calls_for(min(first, sample(1)))
    for _ in range(rounds):
        calls = calls_for(sample(calls) / calls)
    return calls


def turned(names: list[str], i: int) -> list[str]:
    """The order of round i: another begins each time, and every second round goes backwards, so that neighbours change."""
    start = i % len(names) if names else 0
    order = names[start:] + names[:start]
    return order[::-1] if i % 2 else order
