"""How prompts are put together and cut."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hyena.inference.prefill import chunk_tokens, filter_bytes, mask_bytes, together, token_bytes
from tests.helpers import refused
from tests.models.small import language_model


@pytest.mark.parametrize(
    ("lengths", "tokens", "groups"),
    [
        ([5], 100, [[0]]),
        ([5], 2, [[0]]),
        ([3, 5, 4], 100, [[1, 2, 0]]),
        ([3, 5, 4], 10, [[1, 2], [0]]),
        ([3, 5, 4], 9, [[1], [2, 0]]),
        ([1, 8, 1, 8, 2], 100, [[1, 3], [4, 0, 2]]),
        ([90, 90, 90, 80], 100, [[0, 1, 2], [3]]),
        ([1] * 5, 2, [[0, 1], [2, 3], [4]]),
    ],
)
def test_rows_that_are_read_at_once(lengths: list[int], tokens: int, groups: list[list[int]]):
    assert together(lengths, tokens) == groups


def rows(count: int, longest: int = 1) -> list[Tensor]:
    """Prompts of so many tokens."""
    return [torch.zeros(longest, dtype=torch.int64)] * count


def test_a_chunk_fits_the_memory():
    model = language_model("HW")
    each = token_bytes(model)
    assert each > 0
    assert chunk_tokens(model, rows(1), each) == 1
    assert chunk_tokens(model, rows(1), 10 * each + 1) == 10
    assert chunk_tokens(model, rows(3), 10 * each) == 10
    assert chunk_tokens(model, rows(3), 2**50) == chunk_tokens(model, rows(3), None) <= 2**20
    with refused("3 rows", "max_memory", "fewer rows"):
        chunk_tokens(model, rows(3), 3 * each - 1)


def test_masks_of_attention_count():
    model, memory = language_model("HA"), 2**29
    short, long, longer = (chunk_tokens(model, rows(1, n), memory) for n in (2**10, 2**17, 2**20))
    each = token_bytes(model)
    assert short == memory // (each + 5 * 2**10)
    assert long == longer == (memory - 5 * 2**26) // each, "attention works on so many scores at a time"
    assert mask_bytes(language_model("HW"), 2**20) == 0


def test_taps_of_modal_filters_count():
    model, memory = language_model("RRL"), 2**24
    each, kept = token_bytes(model), filter_bytes(model)
    assert 3 * 3 * 16 * 8 <= kept < 3 * 4 * 16 * 8, (
        "of three layers of 16 channels in float64: taps, and a transform twice as long"
    )
    assert chunk_tokens(model, rows(1), memory) == memory // (each + kept)
    assert chunk_tokens(model, rows(4), memory) == memory // (each + kept // 4), "rows share a filter"
    assert filter_bytes(language_model("SHW")) == 0


CHILD = """
import json, sys
from pathlib import Path
import torch
from hyena.configs.model import ModelConfig
from hyena.inference.prefill import prefill
from hyena.models import LanguageModel
torch.set_num_threads(1)
L, memory = 4096, int(sys.argv[1])
model = LanguageModel(ModelConfig(8 * "R", 128, 12)).eval()
ids = torch.randint(0, 12, (L,))
prefill(model, [ids[:300]], 400, "auto", memory)
for block in model.backbone.layers:
    block.mixer.filter.forget()

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
state = prefill(model, [ids], L, "auto", memory).state
print(json.dumps(status("VmHWM") - before - state.nbytes))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of a part of a process")
@pytest.mark.parametrize("memory", [2**25, 2**26])
def test_prompts_are_read_in_the_memory_that_is_given(memory: int):
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
    command = [sys.executable, "-W", "ignore", "-c", CHILD, str(memory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=Path(__file__).parents[2])
    assert 0.5 * memory <= json.loads(done.stdout) <= memory
