"""`Tokens`: one long sequence of tokens that lies in several arrays, in memory or mapped from disk, and is never joined."""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import numpy as np

from hyena.errors import HyenaError


class Tokens:
    """Tokens (L,) in segments; `tokens[a:b]` is an array, and a view where it lies in one segment.

    dtype: of every array that comes out.
    digest: names the content: equal for equal tokens from `prepare`, whatever their shards; of a part or of several joined,
    it says how they were made of what.
    """

    def __init__(self, segments: Sequence[np.ndarray], digest: str):
        """segments: arrays (l,) of one dtype, in order; HyenaError for several dtypes."""
        self._segments = [segment for segment in segments if len(segment)] or list(segments[:1])
        if len({segment.dtype for segment in self._segments}) != 1:
            raise HyenaError(f"{len(self._segments)} segments of tokens have several dtypes or are none; pass arrays of one")
        self.dtype: np.dtype = self._segments[0].dtype
        self.digest = digest
        self._ends = list(accumulate(len(segment) for segment in self._segments))

    @classmethod
    def join(cls, parts: Sequence["Tokens | np.ndarray"]) -> "Tokens":
        """Parts one after the other; nothing is copied."""
        several = [part if isinstance(part, Tokens) else cls([part], digest_of([part])) for part in parts]
        if len(several) == 1:
            return several[0]
        digest = hashlib.sha256("+".join(part.digest for part in several).encode()).hexdigest()
        return cls([segment for part in several for segment in part._segments], digest)

    def __len__(self) -> int:
        """The number of tokens."""
        return self._ends[-1]

    def __getitem__(self, places: slice) -> np.ndarray:
        """tokens[a:b] as an array (b - a,), clipped as numpy does; HyenaError for anything but a slice without a step."""
        if not isinstance(places, slice) or places.step not in (None, 1):
            raise HyenaError(f"tokens[{places}] is not read; ask for a slice tokens[a:b]")
        start, stop, _ = places.indices(len(self))
        cut = list(self._cut(start, stop))
        return cut[0] if len(cut) == 1 else np.concatenate(cut) if cut else np.empty(0, self.dtype)

    def part(self, start: int, stop: int) -> "Tokens":
        """The tokens start .. stop - 1 as `Tokens`; nothing is read."""
        start, stop, _ = slice(start, stop).indices(len(self))
        if (start, stop) == (0, len(self)):
            return self
        digest = hashlib.sha256(f"{self.digest}[{start}:{stop}]".encode()).hexdigest()
        return Tokens(list(self._cut(start, stop)) or [np.empty(0, self.dtype)], digest)

    def _cut(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Views of the segments between two places."""
        number = bisect_right(self._ends, start)
        while start < stop:
            end = self._ends[number]
            first = end - len(self._segments[number])
            yield self._segments[number][start - first : stop - first]
            start, number = end, number + 1


TokenArray = np.ndarray | Tokens


def cut(tokens: TokenArray, start: int, stop: int) -> TokenArray:
    """tokens[start:stop] without reading them."""
    return tokens.part(start, stop) if isinstance(tokens, Tokens) else tokens[start:stop]


def digest_of(pieces: Iterable[np.ndarray]) -> str:
    """The digest of tokens given piece by piece: SHA-256 of their dtype and of their little-endian bytes."""
    digest = None
    for piece in pieces:
        digest = digest or new_digest(piece.dtype)
        digest.update(little_endian(piece))
    return digest.hexdigest() if digest else ""


def new_digest(dtype: np.dtype) -> "hashlib._Hash":
    """An empty digest for tokens of a dtype."""
    return hashlib.sha256(f"u{dtype.itemsize}:".encode())


def little_endian(piece: np.ndarray) -> bytes:
    """The tokens as they are on disk."""
    return piece.astype(piece.dtype.newbyteorder("<"), copy=False).tobytes()
