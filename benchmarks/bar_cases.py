"""The bars of the long convolution, a function each: measured values beside what was promised. `bars.py` runs them.

Every ratio is formed round by round between methods that take turns in one process (`hyena.bench.timing`); its median counts.
"""

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import bar_mixer
import torch
from torch import Tensor

from hyena.bench import memory
from hyena.bench.rivals import RIVALS, Operands, Shape, Work, computation, operands, sampler_of
from hyena.bench.timing import Sampler, Samples, Spread, interleave, sampler
from hyena.ops import long_conv

FORWARD = ((4096, 1024), (512, 8192), (256, 16384), (64, 65536), (32, 262144), (16, 1048576))  # D, L
PREPARED, UNPREPARED = (2.5, 2.5, 6, 6, 5, 5), (2.5, 2.5, 3.5, 3.5, 3.5, 3.5)
GRADIENT = ((2048, 4096, 3.0), (128, 65536, 5.0))  # D, L, bar
ATTENTION = (128, 256, 512, 1024, 4096, 16384, 65536)


@dataclass(frozen=True)
class Settings:
    """How long and how much."""

    threads: int
    rounds: int
    seconds: float
    shorter: int
    """Lengths are divided by this: 1 but for a trial."""

    def shape(self, D: int, L: int) -> Shape:
        """A filter a channel, as long as the sequence."""
        return Shape.square(1, D, max(1, L // self.shorter))

    def time(self, candidates: dict[str, Sampler]) -> Samples:
        """Interleaved rounds."""
        return interleave(candidates, self.rounds, self.seconds)


@dataclass(frozen=True)
class Result:
    """One row: a value and the bar that it has to clear."""

    bar: str
    what: str
    shape: str
    value: float
    limit: float | None = None
    at_least: bool = True
    lower: float | None = None
    """Quartiles of the value."""
    upper: float | None = None
    backend: str | None = None
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the bar is cleared; None where there is none."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def ratio(
    bar: str, what: str, shape: Shape, spread: Spread, limit: float, backend: str | None, at_least: bool = True
) -> Result:
    """A row for a ratio."""
    return Result(bar, what, words(shape), spread.median, limit, at_least, spread.lower, spread.upper, backend)


def words(s: Shape) -> str:
    """A shape, with filters and batch where they are not the usual ones."""
    text = f"D={s.D}, L={s.L:,}"
    text += f", K={s.K:,}" if s.K != s.L else ""
    text += f", G={s.G}" if s.G != s.D else ""
    return text + (f", B={s.B}" if s.B != 1 else "")


def against(settings: Settings, shape: Shape, theirs: str, ours: str, gradient: bool = False) -> tuple[Spread, str | None]:
    """Times theirs over ours, and the backend that ran."""
    o = operands(shape, gradient)
    works = {name: RIVALS[name].prepare(o) for name in (ours, theirs)}
    found = settings.time({name: sampler_of(work, gradient) for name, work in works.items()})
    return found.ratio(theirs, ours), works[ours].backend


def prepared(settings: Settings) -> Iterator[Result]:
    """(a) Forward, gated, spectra prepared on both sides."""
    for (D, L), limit in zip(FORWARD, PREPARED, strict=True):
        shape = settings.shape(D, L)
        spread, backend = against(settings, shape, "torch-prepared", "hyena-prepared")
        yield ratio("a", "torch.fft / hyena, both prepared, forward", shape, spread, limit, backend)


def unprepared(settings: Settings) -> Iterator[Result]:
    """(b) Forward, gated, spectra computed on both sides."""
    for (D, L), limit in zip(FORWARD, UNPREPARED, strict=True):
        shape = settings.shape(D, L)
        spread, backend = against(settings, shape, "torch", "hyena")
        yield ratio("b", "torch.fft / hyena, forward", shape, spread, limit, backend)


def gradient(settings: Settings) -> Iterator[Result]:
    """(c) Forward and backward with every gradient, the filter's too."""
    for D, L, limit in GRADIENT:
        shape = settings.shape(D, L)
        spread, backend = against(settings, shape, "torch", "hyena", gradient=True)
        yield ratio("c", "torch.fft under autograd / hyena, forward and backward", shape, spread, limit, backend)


def variants(settings: Settings) -> Iterator[Result]:
    """(d) The same with half the taps, shared filters, a batch, and in the layout of modules."""
    cases = [(D, L, limit, False) for (D, L), limit in zip(FORWARD, PREPARED, strict=True) if (D, L) in FORWARD[1:4:2]]
    cases += [(*case, True) for case in GRADIENT]
    for D, L, limit, backward in cases:
        full = settings.shape(D, L)
        names = ("torch", "hyena") if backward else ("torch-prepared", "hyena-prepared")
        what = f"torch.fft / hyena, {'forward and backward' if backward else 'both prepared, forward'}"
        for shape in (
            Shape(1, D, full.L, full.L // 2, D),
            Shape(1, D, full.L, full.L, D // 8),
            Shape(4, D // 4, full.L, full.L, D // 4),
        ):
            spread, backend = against(settings, shape, *names, gradient=backward)
            yield ratio("d", what, shape, spread, limit, backend)
        spread, backend = transposed(settings, full, names[1], backward)
        yield ratio("d", f"{what}, tensors (B, L, D)", full, spread, limit, backend)


def transposed(settings: Settings, shape: Shape, ours: str, backward: bool) -> tuple[Spread, str | None]:
    """The same on views of (B, L, D) tensors, against the faster of two ways to give those to torch.fft."""
    o = operands(shape, backward, transposed=True)
    mine = RIVALS[ours].prepare(o)
    ready = None if backward else torch.fft.rfft(o.h, n=2 * shape.L).T.contiguous()

    def along() -> Tensor:
        u, pre, post = (t.transpose(1, 2) for t in (o.u, o.pre, o.post))
        L, x = shape.L, pre * u
        H = torch.fft.rfft(o.h, n=2 * L).T if ready is None else ready
        return post * (torch.fft.irfft(torch.fft.rfft(x, n=2 * L, dim=1) * H, n=2 * L, dim=1)[:, :L] + x * o.skip)

    works = {
        ours: mine,
        "along dim 1": Work(along, tuple(o)),
        "views": RIVALS["torch" if backward else "torch-prepared"].prepare(o),
    }
    found = settings.time({name: sampler_of(work, backward) for name, work in works.items()})
    best = min(("along dim 1", "views"), key=lambda name: found.seconds(name).median)
    return found.ratio(best, ours), mine.backend


def saved(settings: Settings) -> Iterator[Result]:
    """(e) What the graph keeps: u, pre, post and at most one tensor more of their size."""
    shape = Shape(4, 64, 4096 // settings.shorter, 4096 // settings.shorter, 64)
    o = operands(shape, gradient=True)
    kept: dict[int, Tensor] = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.data_ptr(), t), lambda t: t):
        y = long_conv(o.u, o.h, o.skip, pre=o.pre, post=o.post)
    y.sum().backward()
    sizes = sorted((t.numel() / shape.points for t in kept.values()), reverse=True)
    large = sum(size >= 1 for size in sizes)
    note = f"tensors kept, in multiples of u: {', '.join(f'{size:.3g}' for size in sizes)}"
    backend = RIVALS["hyena"].prepare(o).backend
    yield Result(
        "e", "tensors of u's size kept beside u, pre, post", words(shape), large - 3, 1, False, backend=backend, note=note
    )


def attention(settings: Settings) -> Iterator[Result]:
    """(f) One prepared gated convolution against causal attention on as many channels, 64 a head."""
    for L in ATTENTION:
        shape = settings.shape(256, L)
        spread, backend = against(settings, shape, "sdpa", "hyena-prepared")
        yield ratio("f", "causal attention / hyena prepared", shape, spread, 300 if L == 65536 else 1, backend)


def one_more(settings: Settings) -> Iterator[Result]:
    """(g) A length one past a power of two."""
    for name in ("hyena-prepared", "hyena"):
        shape = settings.shape(64, 65536)
        longer = Shape.square(1, 64, shape.L + 1)
        works = [RIVALS[name].prepare(operands(each)) for each in (shape, longer)]
        found = settings.time({key: sampler_of(work, False) for key, work in zip(("even", "odd"), works, strict=True)})
        what = f"{longer.L:,} / {shape.L:,} tokens, {RIVALS[name].label}"
        yield ratio("g", what, shape, found.ratio("odd", "even"), 1.5, works[1].backend, at_least=False)


@contextmanager
def threads(count: int, first: Callable[[], object] = lambda: None) -> Iterator[None]:
    """So many threads inside, woken by a call that is not timed."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        first()
        yield
    finally:
        torch.set_num_threads(before)


def scaling(settings: Settings) -> Iterator[Result]:
    """(h) Two threads against one, shape by shape, and the median over the shapes."""
    values = []
    for D, L in FORWARD:
        shape = settings.shape(D, L)
        candidates = {}
        for count in (1, 2):
            with threads(count):
                work = RIVALS["hyena-prepared"].prepare(operands(shape))
            run = computation(work, False)
            candidates[str(count)] = sampler(run, around=partial(threads, count, run))
        spread = settings.time(candidates).ratio("1", "2")
        values.append(spread.median)
        yield Result("h", "1 thread / 2 threads", words(shape), spread.median, lower=spread.lower, upper=spread.upper,
                     backend=work.backend)  # fmt: skip
    yield Result("h", "1 thread / 2 threads, median over the shapes", "all", statistics.median(values), 1.7)


def exact(o: Operands) -> Tensor:
    """The definition in float64: tap by tap up to 4,096 tokens, by one transform beyond."""
    o = Operands(*(t.double() for t in o))
    if o.u.shape[-1] <= 4096:
        return long_conv(o.u, o.h, o.skip, pre=o.pre, post=o.post, backend="direct")
    return RIVALS["torch"].prepare(o).forward()


def accuracy(settings: Settings) -> Iterator[Result]:
    """(i) Relative l2 distance from float64."""
    for D, L in FORWARD:
        shape = settings.shape(D, L)
        o = operands(shape)
        y = exact(o)
        works = {name: RIVALS[name].prepare(o) for name in ("hyena", "hyena-prepared", "torch")}
        errors = {name: float((work.forward().double() - y).norm() / y.norm()) for name, work in works.items()}
        worst = max(errors["hyena"], errors["hyena-prepared"])
        note = f"torch.fft: {errors['torch']:.2g}"
        yield Result("i", "relative l2 error", words(shape), worst, 5e-7, False, backend=works["hyena"].backend, note=note)


def peak(settings: Settings) -> Iterator[Result]:
    """(j) Extra memory at the peak, in rows of L numbers for each thread."""
    for D, L in (FORWARD[3], FORWARD[5]):
        shape = settings.shape(D, L)
        for name, backward in (("hyena-prepared", False), ("hyena", False), ("hyena", True)):
            found = memory.measure(name, shape, backward, settings.threads)
            theirs = memory.measure(
                "torch-prepared" if name == "hyena-prepared" else "torch", shape, backward, settings.threads
            )
            direction = "forward and backward" if backward else "forward"
            note = f"{found.extra_bytes / 2**20:.1f} MiB, {found.outputs:.2f} outputs; torch.fft {theirs.outputs:.2f} outputs"
            rows = found.extra_bytes / settings.threads / (4 * shape.L)
            what = f"extra memory in rows of L a thread, {RIVALS[name].label}, {direction}"
            yield Result("j", what, words(shape), rows, at_least=False, note=note)


def mixer(settings: Settings) -> Iterator[Result]:
    """(k) The whole mixer against its projections, in evaluation."""
    L = max(1, 65536 // settings.shorter)
    found, backend = bar_mixer.evaluation(256, L, settings.time)
    yield ratio("k", "Hyena mixer / its two projections", Shape.square(1, 256, L), found, 1.35, backend, at_least=False)


def training(settings: Settings) -> Iterator[Result]:
    """(l) A training step of the mixer against the same mixer in PyTorch's own words."""
    for L in (8192, 65536):
        L = max(1, L // settings.shorter)
        found, backend = bar_mixer.step(256, L, settings.time)
        yield ratio(
            "l", "mixer with torch.fft and F.conv1d / Hyena mixer, training", Shape.square(1, 256, L), found, 3, backend
        )


BARS: dict[str, Callable[[Settings], Iterator[Result]]] = {
    "a": prepared,
    "b": unprepared,
    "c": gradient,
    "d": variants,
    "e": saved,
    "f": attention,
    "g": one_more,
    "h": scaling,
    "i": accuracy,
    "j": peak,
    "k": mixer,
    "l": training,
}
