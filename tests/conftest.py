"""What every test shares: checked annotations (before `hyena` is imported), one thread, a seed, poisoned memory."""

from collections.abc import Iterator

import pytest
import torch

from tests import shape_types

shape_types.install()
torch.set_num_threads(1)  # the tensors are small: more threads wait for each other, and cores are shared with other workers


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same numbers in every run of a test, alone or among others."""
    torch.manual_seed(0)


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Fresh memory holds NaN in place of what happened to be there, so that reading it before writing shows."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
