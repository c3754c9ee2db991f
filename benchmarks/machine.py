"""What a report says of the machine and the software, and the environment of the processes that are measured."""

import os

from hyena.bench.machine import facts, processor, sentence

__all__ = ["facts", "one_thread", "processor", "sentence"]


def one_thread() -> dict[str, str]:
    """The environment of a child process that computes with one thread, so that several can share a machine."""
    return os.environ | {"OMP_NUM_THREADS": "1"}
