"""Where a transform is not good enough: at the beginning of a long sequence.

The rounding errors of an FFT are everywhere as large as its loudest outputs make them. Where outputs grow with the number of
terms, as under a filter that does not fade, the first of 2^16 tokens drown in the errors of the last ones: in float32 they are
off by a hundredth of themselves. They depend on what stands before them alone, so a transform of a fraction of the length gives
them again, with errors of their own size.
"""

LONG = 2**15
"""Points of a transform that is worth it: the errors of a shorter one are small, the fixed costs of a second one are not."""
FRACTION = 32
LEAST = 64


def beginnings(points: int) -> list[int]:
    """How many outputs of a transform of so many points are computed again, and again, each time by a shorter one."""
    found: list[int] = []
    while points >= LONG or found:
        points //= FRACTION
        if points < LEAST:
            break
        found.append(points)
    return found
