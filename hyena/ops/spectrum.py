"""`Spectrum`: taps that a caller prepared once to use them many times."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from hyena.ops.taps import Taps


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A prepared filter: give it to `long_conv` in place of h for sequences of up to `length`; made by `prepare`."""

    taps: Taps
    length: int
    backend: str

    def __reduce__(self) -> tuple[Callable[..., "Spectrum"], tuple[Tensor, int, str]]:
        """A copy is prepared anew: a transform by the kernel is in the order of one machine's registers."""
        return _again, (self.h, self.length, self.backend)

    def groups(self, some: slice) -> "Spectrum":
        """The same for some of the groups."""
        return Spectrum(self.taps.groups(some), self.length, self.backend)

    @property
    def h(self) -> Tensor:
        """The taps (G, K)."""
        return self.taps.h

    @property
    def nbytes(self) -> int:
        """Bytes that the taps and their transform hold."""
        return sum(t.nbytes for t in (self.taps.h, self.taps.spectrum) if t is not None)


def _again(h: Tensor, length: int, backend: str) -> Spectrum:
    """Taps h (G, K) prepared on this machine; by its own choice where it has no such backend."""
    from hyena.ops import kernel, prepare

    return prepare(h, length, backend="auto" if backend in kernel.KERNELS and not kernel.available() else backend)
