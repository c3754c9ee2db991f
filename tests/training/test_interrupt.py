"""Ctrl-C: the first asks, the second acts, and what was there before comes back."""

import signal
import threading

import pytest

from hyena.training.interrupt import Interrupt


def test_the_first_asks_and_the_second_acts():
    with Interrupt() as interrupt:
        assert not interrupt.requested
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("pressed", [False, True])
def test_the_handler_of_before_comes_back(pressed: bool):
    def mine(*_: object) -> None: ...

    before = signal.signal(signal.SIGINT, mine)
    try:
        with Interrupt():
            assert signal.getsignal(signal.SIGINT) is not mine
            if pressed:
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is mine
        with pytest.raises(RuntimeError, match="on the way"), Interrupt():
            raise RuntimeError("on the way")
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_one_request_does_not_reach_the_next_run():
    with Interrupt() as first:
        signal.raise_signal(signal.SIGINT)
    with Interrupt() as second:
        assert first.requested
        assert not second.requested


def test_outside_the_main_thread_nothing_is_taken_over():
    seen: list[object] = []

    def work() -> None:
        before = signal.getsignal(signal.SIGINT)
        with Interrupt() as interrupt:
            seen.append(signal.getsignal(signal.SIGINT) is before)
        seen.append(interrupt.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True, False]
