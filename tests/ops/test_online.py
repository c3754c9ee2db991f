"""The online convolution: every engine, every filter length, any program, against the sum that defines it."""

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.testing import assert_close

from hyena.ops.decoding import begin
from hyena.ops.lags import Lags
from hyena.ops.online import Online
from tests import tolerances
from tests.ops.programs import Program, programs, run

LONGEST = 300
ENGINES = ("cached", "tiled", "epoched")
REACHES = (1, 2, 3, 31, 32, 33, 64, 65, 127, None)


def lags(reach: int | None, parts: tuple[int, ...] = (3, 2)) -> Lags:
    """Random taps of five channels in two parts, of `reach` taps (None: as many as are asked for)."""
    taps = [torch.randn(part, reach or 4 * LONGEST, generator=torch.Generator().manual_seed(part)).double() for part in parts]
    return Lags([lambda K, h=h: h[:, :K] for h in taps], reach)


class Convolution:
    """An online convolution as the machine of a program: y includes the present inputs."""

    def __init__(self, filters: Lags, decoding: str, limit: int | None):
        self.lags, self.decoding, self.limit = filters, decoding, limit

    def begin(self, rows: int) -> Online:
        state = begin(self.lags, rows, self.limit, self.decoding)
        return state

    def inputs(self, rows: int, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(rows, n, 5, generator=generator, dtype=torch.float64)

    def peek(self, state: Online, x: Tensor) -> tuple[Tensor, Tensor]:
        u, n = x.transpose(1, 2), x.shape[1]
        h = self.lags.section(0, n)
        y = torch.stack([(u[..., : t + 1].flip(-1) * h[:, : t + 1]).sum(-1) for t in range(n)], 1)
        past = [state.past(n, part) for part in range(2)]
        assert (past[0] is None) == (past[1] is None)
        return (y if past[0] is None else y + torch.cat(past, 1).transpose(1, 2)), u

    def commit(self, state: Online, draft: Tensor, lengths: Tensor | None) -> Online:
        for part, u in zip(state.parts(), draft.split([3, 2], 1), strict=True):
            part.commit(u, lengths)
        return state

    def extend(self, state: Online, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Online]:
        y, draft = self.peek(state, x)
        return y, self.commit(state, draft, lengths)

    def check(self, past: Tensor, n: int, y: Tensor) -> None:
        h = self.lags.section(0, len(past))
        wanted = torch.stack([(past[: t + 1].flip(0).T * h[:, : t + 1]).sum(-1) for t in range(len(past) - n, len(past))])
        assert_close(y, wanted, **tolerances.FLOAT64)


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=25, deadline=None)
@given(program=programs())
def test_any_program_gives_the_defined_sums(engine: str, reach: int | None, program: Program):
    run(Convolution(lags(reach), engine, None), program, rows=2, longest=LONGEST)


@pytest.mark.parametrize("reach", [7, 64, 100, None])
@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=25, deadline=None)
@given(program=programs())
def test_the_same_where_the_length_is_known_before(engine: str, reach: int | None, program: Program):
    run(Convolution(lags(reach), engine, LONGEST), program, rows=2, longest=LONGEST)
