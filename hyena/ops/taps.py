"""`Taps`: one filter as a backend wants it."""

from typing import NamedTuple

from torch import Tensor


class Taps(NamedTuple):
    """Taps h (G, K) in the dtype of the computation; for the transforms also their spectrum (G, n // 2 + 1) over n points."""

    h: Tensor
    spectrum: Tensor | None = None
    n: int = 0

    def groups(self, some: slice) -> "Taps":
        """The same for some of the groups."""
        return Taps(self.h[some], None if self.spectrum is None else self.spectrum[some], self.n)
