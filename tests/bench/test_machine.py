"""What a report says of its machine."""

import platform
from importlib.metadata import version

import hyena
from hyena.bench.machine import available_bytes, facts, processor, sentence


def test_facts_and_their_sentence():
    found = facts("hyena bench ops --quick")
    assert (found["torch"], found["hyena"]) == (version("torch"), hyena.__version__)
    assert found["processor"] == processor() != ""
    line = sentence(found)
    for part in (found["processor"], platform.python_version(), found["date"], "`hyena bench ops --quick`"):
        assert part in line


def test_free_memory():
    free = available_bytes()
    assert free is None or free > 2**20
