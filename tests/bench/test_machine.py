"""What a report says of its machine."""

import platform
from importlib.metadata import version

import pytest

import hyena
from hyena.bench import machine
from hyena.bench.machine import available_bytes, facts, processor, sentence


def test_facts_and_their_sentence():
    found = facts("hyena bench ops --quick")
    assert (found["torch"], found["hyena"]) == (version("torch"), hyena.__version__)
    assert found["processor"] == processor() != ""
    line = sentence(found)
    for part in (found["processor"], platform.python_version(), found["date"], "`hyena bench ops --quick`"):
        assert part in line


def test_a_busy_machine(monkeypatch: pytest.MonkeyPatch):
    assert (now := machine.load()) is None or now >= 0
    for load, words in ((None, None), (0.0, None), (500.25, "the load was 500.25")):
        monkeypatch.setattr(machine, "load", lambda load=load: load)
        found = machine.busy()
        assert found is None if words is None else words in str(found)


def test_threads_are_counted():
    assert [machine.threads(count) for count in (1, 2)] == ["1 thread", "2 threads"]


def test_free_memory():
    free = available_bytes()
    assert free is None or free > 2**20
