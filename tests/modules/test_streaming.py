"""The contract of a mixer's state, for every letter and the options behind it: full = chunks = steps."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.configs.mixers import Beyond
from hyena.errors import HyenaError
from hyena.ops.decoding import Decoding
from tests import tolerances
from tests.helpers import refused
from tests.modules.mixers import ALL, MAX_LENGTH, mixer, signal

every_mixer = pytest.mark.parametrize("name", ALL)
every_engine = pytest.mark.parametrize("engine", ["auto", "cached", "tiled", "epoched"])
SPLITS = {
    "token by token": [1],
    "shorter than the short filter, then longer": [1, 1, 2, 3, 40],
    "a long one first": [50, 1],
    "across blocks": [31, 2, 30, 33],
}


def streamed(m: torch.nn.Module, x: Tensor, sizes: list[int], engine: Decoding, limit: int | None) -> Tensor:
    """The outputs of x in chunks of these sizes, the last of which is used again."""
    state, parts, t = m.init_state(len(x), limit, engine), [], 0
    while t < x.shape[1]:
        n = sizes[min(len(parts), len(sizes) - 1)]
        y, state = m.extend(x[:, t : t + n], state)
        parts.append(y)
        t += n
    return torch.cat(parts, 1)


@every_mixer
@every_engine
@pytest.mark.parametrize("split", SPLITS)
def test_chunks_are_the_whole(name: str, engine: Decoding, split: str):
    m, x = mixer(ALL[name]), signal()
    assert_close(streamed(m, x, SPLITS[split], engine, None), m(x).detach(), **tolerances.FLOAT64)


@every_mixer
@pytest.mark.parametrize("beyond", ["truncate", "extend"])
@pytest.mark.parametrize("engine", ["cached", "tiled", "epoched"])
@pytest.mark.parametrize("limit", [None, 3 * MAX_LENGTH])
def test_past_the_grid_too(name: str, beyond: Beyond, engine: Decoding, limit: int | None):
    m, x = mixer(ALL[name], beyond=beyond), signal(1, 3 * MAX_LENGTH)
    try:
        m.check_length(x.shape[1])
    except HyenaError:  # trained features have no formula past the grid
        with refused("beyond='extend'", "resized"):
            streamed(m, x, [100], engine, limit)
        return
    for sizes in ([1], [7, 60, 1, 100]):
        assert_close(streamed(m, x, sizes, engine, limit), m(x).detach(), **tolerances.FLOAT64)


@every_mixer
@every_engine
def test_padding_leaves_no_trace(name: str, engine: Decoding):
    m, x = mixer(ALL[name]), signal(3)
    state = m.init_state(3, None, engine)
    garbage = torch.full_like(x[:, :9], 1e6)
    lengths = [torch.tensor([9, 4, 0]), torch.tensor([0, 9, 2]), torch.tensor([1, 0, 1]), torch.tensor([5, 5, 5])]
    read = torch.zeros(3, dtype=torch.int64)
    for counts in lengths:
        chunk = garbage.clone()
        for b, n in enumerate(counts.tolist()):
            chunk[b, :n] = x[b, read[b] : read[b] + n]
        y, state = m.extend(chunk, state, counts)
        for b, n in enumerate(counts.tolist()):
            assert_close(y[b, :n], m(x[b : b + 1])[0, read[b] : read[b] + n].detach(), **tolerances.FLOAT64)
        read += counts


@every_mixer
@every_engine
def test_looking_ahead_changes_nothing(name: str, engine: Decoding):
    m, x = mixer(ALL[name]), signal()
    _, state = m.extend(x[:, :20], m.init_state(2, None, engine))
    with torch.no_grad():
        for n in (1, 5, 40):
            m.peek(torch.randn_like(x[:, :n]), state)
        y, new = m.peek(x[:, 20:40], state)
        assert_close(y, m(x)[:, 20:40], **tolerances.FLOAT64)
        m.commit(state, new, torch.tensor([7, 7]))
    assert_close(m.extend(x[:, 27:40], state)[0], m(x)[:, 27:40].detach(), **tolerances.FLOAT64)


@every_mixer
@every_engine
def test_a_state_takes_what_it_says(name: str, engine: Decoding):
    m, L = mixer(ALL[name]), MAX_LENGTH
    state = m.init_state(3, L, engine)
    for n in (20, 1, 1, L - 22):
        assert state.nbytes == 3 * m.state_bytes(L, engine)
        _, state = m.extend(signal(3, n), state)
    assert state.nbytes == 3 * m.state_bytes(L, engine)


@every_mixer
def test_the_numbers_of_a_state_are_no_less_than_float32(name: str):
    m = mixer(ALL[name], torch.float32)
    state = m.extend(signal(1, 5, torch.float32), m.init_state(1))[1]
    assert {t.dtype for t in state.tensors().values()} <= {torch.float32, torch.float64, torch.int64}


@every_mixer
@every_engine
def test_half_precision_streams_like_half_precision(name: str, engine: Decoding):
    m, x = mixer(ALL[name], torch.float32).bfloat16(), signal(dtype=torch.bfloat16)
    y, wanted = streamed(m, x, [13, 1], engine, None), m(x).detach()
    assert y.dtype == torch.bfloat16
    assert (y.float() - wanted.float()).norm() <= tolerances.BFLOAT16_MODEL * wanted.float().norm()


@every_mixer
def test_a_state_is_used_once(name: str):
    m, x = mixer(ALL[name]), signal(1, 4)
    state = m.init_state(1)
    copy = state.clone()
    m.extend(x, state)
    with refused("consumed", "clone()"):
        m.extend(x, state)
    with refused("consumed"):
        state.clone()
    assert_close(m.extend(x, copy)[0], m(x).detach(), **tolerances.FLOAT64)


@every_mixer
def test_lengths_that_mean_nothing_are_refused(name: str):
    m, x = mixer(ALL[name]), signal(2, 4)
    for lengths in (torch.tensor([5, 1]), torch.tensor([-1, 2]), torch.tensor([1]), torch.tensor([1.0, 2.0])):
        with refused("lengths is", "from 0 to 4"):
            m.extend(x, m.init_state(2), lengths)
