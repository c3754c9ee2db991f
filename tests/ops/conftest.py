"""Every test of an operator runs with poisoned memory."""

import pytest


@pytest.fixture(autouse=True)
def _poisoned(poisoned: None) -> None:
    """Memory that an operator allocates and forgets to fill holds NaN."""
