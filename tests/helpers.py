"""Small things that many tests use."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jaxtyping
import pytest
from torch import Tensor

from hyena.errors import HyenaError


@contextmanager
def unchecked() -> Iterator[None]:
    """Run as users do: without the checks of annotations that the tests switch on."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


@contextmanager
def refused(*parts: object) -> Iterator[None]:
    """The body raises our own error, as users see it: one line that holds all of `parts` (the thing, its value, the cure)."""
    with unchecked(), pytest.raises(HyenaError) as caught:
        yield
    _check_message(str(caught.value), parts)


@contextmanager
def right_or_refused(*parts: object) -> Iterator[None]:
    """The body, which checks its result, may also raise our own error: anything but a wrong result or another error."""
    with unchecked():
        try:
            yield
        except HyenaError as error:
            _check_message(str(error), parts)


def _check_message(message: str, parts: tuple[object, ...]) -> None:
    """One line that holds all of the parts."""
    assert "\n" not in message
    for part in parts:
        assert str(part) in message, f"{part!r} is not in {message!r}"


def python(script: str) -> str:
    """What a script prints in an interpreter of its own; fails with its errors. No checked annotations there."""
    command = [sys.executable, "-W", "ignore", "-c", script]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=root)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loudness(x: Tensor) -> float:
    """The largest absolute value, at least 1: rounding of sums is relative to it."""
    return max(1.0, float(x.detach().abs().max()))
