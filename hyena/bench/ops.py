"""The speed of the long convolution against its rivals: every length, forward and with gradients, side by side in one run.

`measure` yields a row for each method, length and direction as it is finished. Before methods are timed their outputs are
compared, and each row of ours says which backend ran. Methods whose time grows with the square of the length are timed as far
as a call takes no longer than its share of seconds; beyond, their time is extrapolated from what was measured and marked.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from hyena.bench.foreign import Foreign
from hyena.bench.machine import available_bytes
from hyena.bench.memory import Memory
from hyena.bench.memory import measure as measure_memory
from hyena.bench.rivals import HEAD, OURS, RIVALS, Rival, Shape, Work, operands, sampler_of, scipy_fft, with_backend
from hyena.bench.timing import Samples, Spread, interleave
from hyena.configs.files import nearest
from hyena.errors import HyenaError

LENGTHS = (128, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576)
MEMORY_LENGTHS = (4096, 65536, 1048576)
_LEAST_WIDTH = 16
_ANCHORS = (1024, 4096)
"""Lengths from which a quadratic method is extrapolated where no such length was measured."""
_DIFFERENCE = 1e-4
"""Largest relative difference of two methods' outputs before it is an error: float32 is a hundred times closer."""


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    lengths: tuple[int, ...] = LENGTHS
    width: int = 256
    """Channels D."""
    batch: int = 1
    most_points: int = 2**24
    """Numbers in a tensor past which fewer channels are taken, at least 16: channels are independent of one another."""
    gradient: bool = True
    """Whether forward and backward together are timed too."""
    threads: int = field(default_factory=torch.get_num_threads)
    rounds: int = 9
    seconds: float = 5.0
    """For each method, length and direction; at least three rounds are made."""
    rivals: tuple[str, ...] = tuple(name for name in RIVALS if name not in OURS)
    memory_lengths: tuple[int, ...] = MEMORY_LENGTHS
    """Lengths at which the peak memory is measured too."""
    nvsubquadratic: Path | None = None
    """The python of an environment that has it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        for name in ("width", "batch", "most_points", "threads", "rounds"):
            if vars(self)[name] < 1:
                raise HyenaError(f"{name} is {vars(self)[name]}; pass at least 1")
        if not self.lengths or min(self.lengths) < 1:
            raise HyenaError(f"lengths are {', '.join(map(str, self.lengths)) or 'none'}; pass lengths of at least 1 token")
        if not self.seconds > 0:
            raise HyenaError(f"seconds is {self.seconds}; pass a number above 0")
        for name in self.rivals:
            if name not in RIVALS or name in OURS:
                known = [known for known in RIVALS if known not in OURS]
                raise HyenaError(f"there is no rival {name!r}{nearest(name, known)}; the rivals: {', '.join(known)}")

    def shape(self, L: int) -> Shape:
        """The shape that is measured at a length."""
        fitting = self.most_points // (self.batch * L) // _LEAST_WIDTH * _LEAST_WIDTH
        return Shape.square(self.batch, min(self.width, max(fitting, _LEAST_WIDTH)), L)


@dataclass(frozen=True)
class Row:
    """One method on one shape, forward alone or with the gradient for every input."""

    method: str
    label: str
    """The method in words."""
    gradient: bool
    shape: Shape
    seconds: Spread | None = None
    """Of one call; None where it was not timed."""
    calls: int = 0
    """Calls within a sample."""
    backend: str | None = None
    """Which of our backends ran."""
    extrapolated: bool = False
    """Whether the seconds were computed and not measured."""
    against: str | None = None
    """Which of ours the ratio is over."""
    ratio: Spread | None = None
    """How many times as long it takes as that one, formed round by round where it was measured."""
    difference: float | None = None
    """Relative l2 distance of its output from ours."""
    memory: Memory | None = None
    """Extra memory at the peak."""
    reason: str | None = None
    """Why there is no time."""

    @property
    def nanoseconds(self) -> Spread | None:
        """Nanoseconds a token and channel."""
        return None if self.seconds is None else self.seconds.scaled(1e9 / self.shape.points)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


Report = Callable[[int, int, str], None]
"""report(done, total, what is next): work in arbitrary units, about proportional to time."""
Known = dict[tuple[str, bool], dict[int, float]]
"""(method, gradient) -> length -> seconds a row of the batch and channel, as measured so far."""


def measure(settings: Settings, note: Callable[[str], None], report: Report) -> Iterator[Row]:
    """Time everything, shortest lengths first; note(text) gets what was left out."""
    rivals = _rivals(settings, note)
    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    foreign = nullcontext() if settings.nvsubquadratic is None else Foreign(settings.nvsubquadratic)
    try:
        with foreign as child:
            if child is not None:
                rivals.append(child.rival)
            yield from _Run(settings, rivals, child, report).rows()
    finally:
        torch.set_num_threads(before)


def _rivals(settings: Settings, note: Callable[[str], None]) -> list[Rival]:
    """Ours and those that were asked for and are installed."""
    names = [*OURS, *settings.rivals]
    if any(name.startswith("scipy") for name in names):
        try:
            scipy_fft()
        except HyenaError as error:
            note(f"scipy.fft is left out: {error}")
            names = [name for name in names if not name.startswith("scipy")]
    return [RIVALS[name] for name in names]


class _Run:
    """One run over all lengths."""

    def __init__(self, settings: Settings, rivals: list[Rival], foreign: Foreign | None, report: Report):
        self._settings, self._rivals, self._foreign, self._report = settings, rivals, foreign, report
        self._known: Known = {}

    def rows(self) -> Iterator[Row]:
        """All rows, a length at a time."""
        directions = (False, True) if self._settings.gradient else (False,)
        cells = [(self._settings.shape(L), gradient) for L in sorted(set(self._settings.lengths)) for gradient in directions]
        weights = [self._weight(*cell) for cell in cells]
        for i, (shape, gradient) in enumerate(cells):
            what = f"{shape.L:,} tokens, {'forward and backward' if gradient else 'forward'}"
            self._report(sum(weights[:i]), sum(weights), what)
            yield from self._cell(shape, gradient)
        self._report(sum(weights), sum(weights), "")

    def _weight(self, shape: Shape, gradient: bool) -> int:
        """Tenths of seconds that a cell may take, for the time to go."""
        call = shape.points * 5e-8 * (3 if gradient else 1)
        spent = max(4 * call, min(self._settings.rounds * call, self._settings.seconds), 0.05)
        memory = 4 + 3 * call if shape.L in self._settings.memory_lengths else 0
        return int(10 * len(self._rivals) * (spent + memory)) + 1

    def _cell(self, shape: Shape, gradient: bool) -> Iterator[Row]:
        """One length, one direction: every method in turn."""
        o = operands(shape, gradient)
        works: dict[str, Work] = {}
        absent: dict[str, Row] = {}
        for rival in self._rivals:
            if gradient and not rival.gradient:
                continue
            too_long = rival.quadratic and self._too_long(rival, shape, gradient)
            reason = rival.obstacle(shape, gradient, available_bytes()) or ("too long to be measured" if too_long else None)
            if reason is None:
                works[rival.name] = rival.prepare(o)
            else:
                absent[rival.name] = Row(rival.name, rival.label, gradient, shape, reason=reason)
        differences = {} if gradient else _differences(works)
        samples = self._time(works, gradient)
        for name in works:
            self._known.setdefault((name, gradient), {})[shape.L] = samples.seconds(name).median / (shape.B * shape.D)
        for rival in self._rivals:
            if rival.name in works:
                yield self._row(rival, shape, gradient, samples, works[rival.name].backend, differences.get(rival.name))
            elif rival.name in absent:
                yield self._extrapolated(rival, absent[rival.name], samples)

    def _row(
        self, rival: Rival, shape: Shape, gradient: bool, samples: Samples, backend: str | None, difference: float | None
    ) -> Row:
        """A method that was timed, with its memory where that is asked for."""
        against = _against(rival, gradient)
        return Row(
            rival.name,
            rival.label,
            gradient,
            shape,
            samples.seconds(rival.name),
            samples.calls[rival.name],
            backend,
            against=against,
            ratio=samples.ratio(rival.name, against),
            difference=difference,
            memory=self._memory(rival.name, shape, gradient) if shape.L in self._settings.memory_lengths else None,
        )

    def _extrapolated(self, rival: Rival, row: Row, samples: Samples) -> Row:
        """A method that was not timed: its seconds by the square of the length where shorter ones were measured."""
        known = self._known.get((row.method, row.gradient), {})
        if not rival.quadratic or not known:
            return row
        seconds = extrapolate(known, row.shape.L) * row.shape.B * row.shape.D
        against = _against(rival, row.gradient)
        ratio = seconds / samples.seconds(against).median
        one, times = (Spread(value, value, value, 0) for value in (seconds, ratio))
        return replace(row, extrapolated=True, against=against, seconds=one, ratio=times)

    def _too_long(self, rival: Rival, shape: Shape, gradient: bool) -> bool:
        """Whether one call would take longer than the seconds for all; up to the anchors nothing is too long.

        A time is extrapolated from two lengths of which one at least is no shorter than the anchors, else fixed costs count.
        """
        known = self._known.setdefault((rival.name, gradient), {})
        if max(_ANCHORS) >= shape.L:
            return False
        if len(known) < 2 or max(known) < min(_ANCHORS):
            for L in set(_ANCHORS) - set(known):
                D = max(shape.D, HEAD)
                work = rival.prepare(operands(Shape.square(shape.B, D, L), gradient))
                known[L] = self._time({rival.name: work}, gradient).seconds(rival.name).median / (shape.B * D)
        return extrapolate(known, shape.L) * shape.B * shape.D > self._settings.seconds

    def _time(self, works: dict[str, Work], gradient: bool) -> Samples:
        """Interleaved rounds within the settings."""
        samplers = {name: sampler_of(work, gradient) for name, work in works.items()}
        return interleave(samplers, self._settings.rounds, self._settings.seconds)

    def _memory(self, name: str, shape: Shape, gradient: bool) -> Memory | None:
        """Peak memory by a process of its own."""
        if self._foreign is not None and name == self._foreign.rival.name:
            return self._foreign.memory(shape, gradient, self._settings.threads)
        return measure_memory(name, shape, gradient, self._settings.threads)


def _against(rival: Rival, gradient: bool) -> str:
    """Which of ours does the same work: with a gradient nothing is prepared."""
    return "hyena" if gradient else rival.against


def _differences(works: dict[str, Work]) -> dict[str, float]:
    """Relative l2 distance of each convolution's output from ours; `HyenaError` for one that computes something else."""
    found: dict[str, float] = {}
    with torch.no_grad():
        ours = works["hyena"].forward()
        for name, work in works.items():
            if name not in ("hyena", "sdpa"):
                found[name] = float((work.forward() - ours).norm() / ours.norm())
                if not found[name] < _DIFFERENCE:
                    raise HyenaError(f"{name} and hyena differ by {found[name]:.2g} of the output: they are not to be compared")
    return found


def extrapolate(known: dict[int, float], L: int) -> float:
    """The time at L from measured times: a L + b L^2 through the two largest lengths, neither a nor b negative."""
    if not known:
        raise HyenaError("nothing was measured that could be extrapolated")
    (long, t), *rest = sorted(known.items(), reverse=True)
    if not rest:
        return t * (L / long) ** 2
    short, s = rest[0]
    b = max((t / long - s / short) / (long - short), 0.0)
    a = t / long - b * long
    return a * L + b * L * L if a >= 0 else t * (L / long) ** 2


def time_backends(
    shape: Shape, backends: tuple[str, ...], gradient: bool = False, rounds: int = 5, seconds: float = 1.0
) -> Samples:
    """Some of our backends on one shape, interleaved, gates and skip included, the filter not prepared."""
    o = operands(shape, gradient)
    samplers = {backend: sampler_of(with_backend(o, backend), gradient) for backend in backends}
    return interleave(samplers, rounds, seconds)
