"""Hyena by channels against the plain forward, for every option that changes what is computed."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.configs.mixers import HyenaConfig
from hyena.modules.filter_rows import FilterRows
from hyena.modules.hyena import Hyena
from hyena.modules.hyena_long import Blocks, Room, bytes_of, mixed
from tests import tolerances
from tests.modules.mixers import ALL, MAX_LENGTH, WIDTH, mixer, signal

HYENAS = [name for name, config in ALL.items() if isinstance(config, HyenaConfig) and config.modal is None]
every_hyena = pytest.mark.parametrize("name", HYENAS)


def by_channels(m: Hyena, x: Tensor, blocks: Blocks, room: Room | None = None) -> Tensor:
    """What `mixed` and the output projection make of x (B, L, D)."""
    B, L, D = x.shape
    rows, out = x.reshape(B * L, D), x.new_full((D, B * L), torch.nan)
    mixed(m, lambda some: rows[some], B, L, blocks, room or Room(), out)
    return m.out_proj(m.act(out).T).view(B, L, D)


@every_hyena
@pytest.mark.parametrize(
    "blocks", [Blocks(32, 1000, True), Blocks(8, 7, True), Blocks(5, 64, False), Blocks(1, 1, False)], ids=str
)
@pytest.mark.parametrize("L", [1, 2, 17, MAX_LENGTH])
@torch.no_grad()
def test_it_is_the_plain_forward(name: str, blocks: Blocks, L: int):
    m, x = mixer(ALL[name]), signal(2, L)
    assert_close(by_channels(m, x, blocks), m(x), **tolerances.FLOAT64)


@every_hyena
@torch.no_grad()
def test_in_float32(name: str):
    m, x = mixer(ALL[name], torch.float32), signal(dtype=torch.float32)
    y = m(x)
    assert (by_channels(m, x, Blocks(8, 50, True)) - y).norm() <= tolerances.FLOAT32_MODEL * y.norm()


@pytest.mark.parametrize("beyond", ["truncate", "extend"])
@torch.no_grad()
def test_past_the_grid(beyond: str):
    m, x = mixer(ALL["H"], beyond=beyond), signal(2, 150)
    assert_close(by_channels(m, x, Blocks(8, 50, True)), m(x), **tolerances.FLOAT64)


@torch.no_grad()
def test_an_adapter_around_a_projection_is_called():
    class Adapted(torch.nn.Module):
        """A linear map and something else."""

        def __init__(self, linear: torch.nn.Linear):
            super().__init__()
            self.linear, self.weight, self.bias = linear, linear.weight, linear.bias

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) * 1.5

    m, x = mixer(ALL["H"]), signal()
    m.in_proj = Adapted(m.in_proj)
    assert_close(by_channels(m, x, Blocks(8, 50, True)), m(x), **tolerances.FLOAT64)


@torch.no_grad()
def test_memory_is_used_again():
    m, x, room = mixer(ALL["H"]), signal(), Room()
    y = by_channels(m, x, Blocks(8, 50, True), room)
    assert torch.equal(by_channels(m, x, Blocks(8, 50, True), room), y)
    assert_close(by_channels(m, x[:, :9], Blocks(8, 50, True), room), m(x[:, :9]), **tolerances.FLOAT64)


@every_hyena
@pytest.mark.parametrize("keep", [True, False])
@torch.no_grad()
def test_rows_of_a_filter(name: str, keep: bool):
    m = mixer(ALL[name])
    whole = m.filter(50)
    room = whole.new_empty(50, m.filter.config.width) if keep else None
    rows = FilterRows(m.filter, 50, room)
    assert_close(rows.rows(slice(3, 20), whole.new_empty(17, 50)), whole[3:20], **tolerances.FLOAT64)


def test_fewer_channels_take_fewer_bytes():
    m = mixer(ALL["H"])
    sizes = [bytes_of(m, 2, 50, Blocks(channels, 64, True)) for channels in (1, 8, WIDTH)]
    assert sizes == sorted(sizes)
    assert bytes_of(m, 2, 50, Blocks(8, 64, False)) < sizes[1]
