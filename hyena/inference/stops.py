"""Where a row ends before its time: at a token, or at a text, which may straddle tokens."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hyena.errors import HyenaError

Stop = int | str | Sequence[int | str]
"""Ids, texts, or one of them."""


@dataclass(frozen=True)
class Stops:
    """What ends a row."""

    ids: frozenset[int]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, stop: Stop, allowed: Iterable[int]) -> "Stops":
        """Checked; allowed: the ids that may be drawn."""
        every = [stop] if isinstance(stop, int | str) else list(stop)
        for each in every:
            if isinstance(each, bool) or not isinstance(each, int | str):
                raise HyenaError(f"stop has {each!r}: use ids and texts")
            if isinstance(each, str) and not each:
                raise HyenaError("stop has an empty text, at which every row would end: use one of at least a character")
        ids = frozenset(each for each in every if isinstance(each, int))
        never = sorted(ids - set(allowed))
        if never:
            raise HyenaError(f"stop has id {never[0]}, which is never drawn: use ids that may be drawn (see `allowed`)")
        return cls(ids, tuple(dict.fromkeys(each for each in every if isinstance(each, str))))

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.ids or self.texts)

    def first(self, text: str) -> int | None:
        """Where the stop that is complete first begins, in a text that held none before its last piece."""
        found = [(at + len(each), at) for each in self.texts if (at := text.find(each)) >= 0]
        return min(found)[1] if found else None

    def begun(self, text: str) -> int:
        """Characters at the end of a text that may be the beginning of a stop."""
        longest = 0
        for each in self.texts:
            most = min(len(each) - 1, len(text))
            longest = max(longest, next((n for n in range(most, 0, -1) if text.endswith(each[:n])), 0))
        return longest


class Watch:
    """One row as it is written: its text, and whether it has come to a stop."""

    def __init__(self, stops: Stops, decode: Callable[[int], str] | None):
        """decode: from the next id to the text that it completes (`stream_decoder`); none needed where no text matters."""
        self.stops, self._decode = stops, decode
        self.stopped = False
        self.kept = 0
        """Tokens before the stop, none of which has a part in it."""
        self._tokens, self._characters = 0, 0
        self._ready: list[str] = []
        self._held = ""
        self._ends: deque[tuple[int, int]] = deque([(0, 0)])  # tokens that end with a text, and its characters

    def add(self, token: int) -> None:
        """The next token."""
        if token in self.stops.ids:
            self.stopped = True
            self._release(len(self._held))
            return
        self._tokens += 1
        self.kept = self._tokens
        piece = self._decode(token) if self._decode is not None else ""
        if not piece:
            return
        self._held += piece
        self._characters += len(piece)
        self._ends.append((self._tokens, self._characters))
        at = self.stops.first(self._held)
        if at is None:
            self._release(len(self._held) - self.stops.begun(self._held))
            return
        self.stopped = True
        begin = self._characters - len(self._held) + at
        self.kept = max(tokens for tokens, end in self._ends if end <= begin)
        self._release(at)

    def take(self, last: bool = False) -> str:
        """The text that has become certain since the last call; last: no token follows, so nothing is waited for."""
        if last and not self.stopped:
            self._release(len(self._held))
        text = "".join(self._ready)
        self._ready.clear()
        return text

    def _release(self, count: int) -> None:
        """So many held characters are certain."""
        self._ready.append(self._held[:count])
        self._held = self._held[count:]
        certain = self._characters - len(self._held)
        while len(self._ends) > 1 and self._ends[1][1] <= certain:
            self._ends.popleft()
