"""Ctrl-C and SIGTERM between two steps instead of in the middle of one."""

import signal
import threading
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While entered, the first Ctrl-C or SIGTERM is kept in `signal`; the second acts as it always does, at once."""

    signal: int | None = None

    @property
    def requested(self) -> bool:
        """Whether one came."""
        return self.signal is not None

    def __enter__(self) -> "Interrupt":
        """Take the signals over; only the main thread may, elsewhere nothing changes."""
        self._main = threading.current_thread() is threading.main_thread()
        self._before = {number: signal.signal(number, self._request) for number in _SIGNALS} if self._main else {}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give the signals back."""
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._give_back()
