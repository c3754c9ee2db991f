"""Every test of an operator runs with poisoned memory. Fixtures: which functions of the kernel ran; on how many threads."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch

from hyena.ops.native import calls


@pytest.fixture(autouse=True)
def _poisoned(poisoned: None) -> None:
    """Memory that an operator allocates and forgets to fill holds NaN."""


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the kernel's forward and backward ran."""
    counts: Counter[str] = Counter()

    def counting(name: str, f: Callable[..., None]) -> Callable[..., None]:
        def counted(*args: Any) -> None:
            counts[name] += 1
            f(*args)

        return counted

    for name in ("forward", "backward"):
        monkeypatch.setattr(calls, name, counting(name, getattr(calls, name)))
    return counts


@pytest.fixture
def threads() -> Callable[[int], AbstractContextManager[None]]:
    """`with threads(n):` PyTorch's number of threads, which the kernel follows."""

    @contextmanager
    def using(n: int) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(n)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    return using
