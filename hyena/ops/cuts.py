"""How work is cut: consecutive pieces, and powers of two."""

from collections.abc import Iterator


def pieces(total: int, size: int) -> Iterator[slice]:
    """0 .. total - 1 in consecutive pieces of up to `size`."""
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


def power(n: int) -> int:
    """The least power of two that is at least n >= 1."""
    return 1 << (n - 1).bit_length()
