"""Rows as a measurement would give them, from times that are written down."""

from hyena.bench.memory import Memory
from hyena.bench.ops import Row
from hyena.bench.rivals import RIVALS, Shape
from hyena.bench.timing import Spread


def spread(median: float, exact: bool = False) -> Spread:
    """Quartiles a tenth away."""
    return Spread(median, median, median, 0) if exact else Spread(median, 0.9 * median, 1.1 * median, 9)


def rows(
    times: dict[str, dict[int, float]], gradient: bool = False, beyond: int = 10**9, memory: Memory | None = None
) -> list[Row]:
    """method -> length -> seconds; quadratic methods are extrapolated past `beyond`."""
    found = []
    for method, seconds in times.items():
        rival = RIVALS[method]
        against = "hyena" if gradient or "hyena-prepared" not in times else rival.against
        for L, value in seconds.items():
            extrapolated = rival.quadratic and beyond < L
            found.append(
                Row(
                    method,
                    rival.label,
                    gradient,
                    Shape.square(1, 64, L),
                    spread(value, extrapolated),
                    1,
                    "fft" if method.startswith("hyena") else None,
                    extrapolated,
                    against,
                    spread(value / times[against][L], extrapolated),
                    memory=memory,
                )
            )
    return sorted(found, key=lambda row: row.shape.L)


LENGTHS = (128, 512, 2048, 8192)
TIMES = {
    "hyena": {L: 2e-6 * L for L in LENGTHS},
    "hyena-prepared": {L: 1e-6 * L for L in LENGTHS},
    "torch": {L: 6e-6 * L for L in LENGTHS},
    "torch-prepared": {L: 5e-6 * L for L in LENGTHS},
    "conv1d": {L: 1e-8 * L * L for L in LENGTHS},
    "sdpa": {L: 1e-9 * L * L for L in LENGTHS},
}
"""Attention crosses at 1,000 tokens; the direct convolution is slower everywhere."""
