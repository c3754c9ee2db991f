"""What is predicted of memory, held against what a process takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hyena.configs.presets import evo1_8k, hyenadna_large_1m, hyenadna_tiny_1k
from hyena.models import LanguageModel, cost, estimate_memory
from hyena.models.budget import DEFAULT_MEMORY
from tests.helpers import refused
from tests.models.small import HYBRIDS, STRIPED, language_model, small

CHILD = """
import json, sys
from pathlib import Path
import torch
from hyena.configs.mixers import Mixers, AttentionConfig
from hyena.configs.model import ModelConfig
from hyena.models import LanguageModel, estimate_memory
from hyena.models.layerwise import stream_of
pattern, width, L, memory = json.loads(sys.argv[1])
torch.set_num_threads(1)
model = LanguageModel(ModelConfig(pattern, width, 12, max_length=L, mixers=Mixers(W=AttentionConfig(window=64)))).eval()
ids = torch.randint(0, 12, (1, L))
stream_of(model.backbone, ids[:, :2048])

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
stream_of(model.backbone, ids, max_memory=memory)
found = estimate_memory(model, L, max_memory=memory)
print(json.dumps([status("VmHWM") - before, found.working, found.seconds]))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of a part of a process")
@pytest.mark.parametrize(
    ("pattern", "width", "L", "memory"),
    [
        ("H", 128, 65536, None),
        ("H", 128, 100_000, 2**27 + 2**26),
        ("HW", 64, 131_072, None),
        ("SMLA", 64, 16384, None),
        ("RRAR", 64, 16384, 2**27),
        ("RLRL", 128, 16384, None),
        ("RL", 64, 131_072, 2**26),
    ],
)
def test_the_peak_is_what_was_predicted(pattern: str, width: int, L: int, memory: int | None):
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
    command = [sys.executable, "-W", "ignore", "-c", CHILD, json.dumps([pattern, width, L, memory])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=Path(__file__).parents[2])
    measured, predicted, seconds = json.loads(done.stdout)
    assert 0.75 * predicted <= measured <= 1.25 * predicted, (measured, predicted)
    assert memory is None or predicted <= memory
    assert 0 < seconds < 600


def test_a_configuration_needs_no_weights():
    found = estimate_memory(hyenadna_large_1m(), 1_000_000)
    assert found.stream == 1_000_000 * 256 * 4
    assert 2 * found.stream < found.least < found.working < 6 * 2**30
    assert found.flops == cost(hyenadna_large_1m(), 1_000_000).flops
    assert found.seconds > 1
    assert not found.fits()
    assert found.fits(found.least)
    assert estimate_memory(hyenadna_large_1m(), 500_000).fits(DEFAULT_MEMORY)


def test_a_model_and_its_configuration_agree():
    config = hyenadna_tiny_1k()
    a, b = estimate_memory(config, 1000), estimate_memory(LanguageModel(config), 1000)
    assert (a.weights, a.working, a.total, a.state) == (b.weights, b.working, b.total, b.state)
    assert a.total == a.weights + a.working
    assert a.working == a.stream + a.buffers + a.filters
    assert all(a.sentences().values())


def test_more_takes_more():
    model = language_model("HAW")
    sizes = [estimate_memory(model, L, B) for L, B in ((10, 1), (60, 1), (60, 3))]
    assert [found.working for found in sizes] == sorted({found.working for found in sizes})


@pytest.mark.parametrize("pattern", HYBRIDS)
def test_hybrids_and_their_configurations_agree(pattern: str):
    config = small(pattern, mixers=STRIPED, max_length=4096)
    a, b = estimate_memory(config, 3000, 2), estimate_memory(LanguageModel(config), 3000, 2)
    assert (a.weights, a.working, a.least, a.state, a.flops) == (b.weights, b.working, b.least, b.state, b.flops)
    assert a.working == a.stream + a.buffers + a.filters
    assert a.state == 2 * cost(config, 3000).state_bytes
    assert a.least < a.working
    assert estimate_memory(config, 3000, 2, max_memory=a.least).working == a.least
    with refused("a batch of 2 sequences of 3,000 tokens needs"):
        estimate_memory(config, 3000, 2, max_memory=a.least - 1)


@pytest.mark.parametrize("length", [1000, 1024, 3000])
def test_the_least_is_not_more_than_the_fastest(length: int):
    config = small("SMLAS", mixers=STRIPED, max_length=4096)
    found = estimate_memory(config, length)
    assert found.least <= found.working
    assert estimate_memory(config, length, max_memory=found.least).working == found.least
    with refused("needs"):
        estimate_memory(config, length, max_memory=found.least - 1)


def test_seven_billion_parameters_fit_a_small_budget():
    """Evo 1 reads 8,192 bases in 2 GiB beyond its weights: taps of 29 layers are not all kept, and chunks are short."""
    found = estimate_memory(evo1_8k(), 8192)
    assert found.least < DEFAULT_MEMORY < found.working
    assert estimate_memory(evo1_8k(), 8192, max_memory=DEFAULT_MEMORY).working < DEFAULT_MEMORY


def test_what_does_not_fit_is_refused():
    with refused("1,000,000 tokens needs", "--max-memory", "2GiB"):
        estimate_memory(hyenadna_large_1m(), 1_000_000, max_memory=DEFAULT_MEMORY)
    with refused("max_length 64"):
        estimate_memory(language_model("H"), 65)


@pytest.mark.parametrize(("name", "value"), [("length", 1e3), ("length", 0), ("batch_size", -1), ("batch_size", "2")])
def test_sizes_that_are_none_are_refused(name: str, value: object):
    with refused(f"{name} is {value!r}", "whole number"):
        estimate_memory(hyenadna_tiny_1k(), **{"length": 100, name: value})
