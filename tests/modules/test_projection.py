"""Projections to and from rows of channels: the linear map itself, laid out for convolutions."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from hyena.modules.projection import channels_first, channels_first_apart, channels_last
from tests import tolerances

B, L, D, E = 3, 5, 4, 6


class Adapter(nn.Module):
    """A linear map with something beside it, as adapters for fine-tuning put it in place of the map."""

    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base, self.down = base, nn.Linear(base.in_features, base.out_features, bias=False).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.down(x)


class Doubled(nn.Linear):
    """A subclass that computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def linear(bias: bool = True, kind: type[nn.Linear] = nn.Linear) -> nn.Linear:
    """D -> E in float64."""
    return kind(D, E, bias=bias).double()


MAPS: dict[str, Callable[[], nn.Module]] = {
    "linear": linear,
    "linear without bias": lambda: linear(bias=False),
    "an adapter": lambda: Adapter(linear()),
    "a subclass": lambda: linear(kind=Doubled),
    "a sequence": lambda: nn.Sequential(linear(), nn.Tanh()),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(linear()),
}
INPUTS: dict[str, Callable[[], Tensor]] = {
    "contiguous": lambda: torch.randn(B, L, D).double(),
    "transposed": lambda: torch.randn(B, D, L).double().mT,
    "part of a larger one": lambda: torch.randn(B, 2 * L, D + 3).double()[:, ::2, 1:-2],
    "one sequence": lambda: torch.randn(1, L, D).double(),
    "one token": lambda: torch.randn(B, 1, D).double(),
    "expanded": lambda: torch.randn(1, 1, D).double().expand(B, L, D),
    "no sequence": lambda: torch.randn(0, L, D).double(),
}


@pytest.mark.parametrize("x", INPUTS)
@pytest.mark.parametrize("kind", MAPS)
def test_channels_come_first(kind: str, x: str):
    m, given = MAPS[kind](), INPUTS[x]().requires_grad_()
    y, wanted = channels_first(m, given), m(given).mT
    assert_close(y, wanted, **tolerances.FLOAT64)
    cotangent, leaves = torch.randn_like(wanted), [given, *m.parameters()]
    for a, w in zip(*(torch.autograd.grad(t, leaves, cotangent) for t in (y, wanted)), strict=True):
        assert_close(a, w, **tolerances.FLOAT64)


@pytest.mark.parametrize("x", INPUTS)
@pytest.mark.parametrize("kind", MAPS)
def test_the_bias_may_be_left_to_whoever_reads_the_rows(kind: str, x: str):
    m, given = MAPS[kind](), INPUTS[x]().requires_grad_()
    y, bias = channels_first_apart(m, given)
    wanted = m(given).mT
    assert_close(y if bias is None else y + bias[:, None], wanted, **tolerances.FLOAT64)
    assert (bias is None) == (kind != "linear")


@pytest.mark.parametrize("x", INPUTS)
@pytest.mark.parametrize("kind", MAPS)
def test_channels_come_last(kind: str, x: str):
    m, given = MAPS[kind](), INPUTS[x]().requires_grad_()
    y, wanted = channels_last(m, given.mT), m(given)
    assert y.shape == wanted.shape
    assert_close(y, wanted, **tolerances.FLOAT64)
    cotangent, leaves = torch.randn_like(wanted), [given, *m.parameters()]
    for a, w in zip(*(torch.autograd.grad(t, leaves, cotangent) for t in (y, wanted)), strict=True):
        assert_close(a, w, **tolerances.FLOAT64)


def test_rows_are_contiguous_and_go_back_without_a_copy():
    y = channels_first(linear(), INPUTS["contiguous"]())
    assert y.stride() == (L, B * L, 1)
    seen: list[Tensor] = []
    back = nn.Linear(E, D).double()
    back.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    channels_last(back, y)
    assert seen[0].data_ptr() == y.data_ptr()


def test_only_a_plain_map_is_computed_without_being_called():
    def patched() -> nn.Linear:
        m = linear()
        m.forward = lambda x: 3 * nn.functional.linear(x, m.weight, m.bias)  # as tools for quantisation or offloading do
        return m

    def hooked() -> nn.Linear:
        m = linear()
        m.register_forward_hook(lambda *args: 2 * args[-1])
        return m

    def hooked_before() -> nn.Linear:
        m = linear()
        m.register_forward_pre_hook(lambda _, args: (args[0] + 1,))
        return m

    def hooked_behind() -> nn.Linear:
        m = linear()
        m.register_full_backward_hook(lambda _, gx, gy: (5 * gx[0],))
        return m

    def hooked_behind_before() -> nn.Linear:
        m = linear()
        m.register_full_backward_pre_hook(lambda _, gy: (7 * gy[0],))
        return m

    for make in (patched, hooked, hooked_before, hooked_behind, hooked_behind_before):
        m, x = make(), INPUTS["contiguous"]().requires_grad_()
        y, bias = channels_first_apart(m, x)
        assert bias is None, make.__name__
        for found in (y, channels_first(m, x)):
            assert_close(found, m(x).mT, **tolerances.FLOAT64, msg=make.__name__)
            gradients = [torch.autograd.grad(t.sum(), x, retain_graph=True)[0] for t in (found, m(x))]
            assert_close(*gradients, **tolerances.FLOAT64, msg=make.__name__)


@pytest.mark.parametrize("bias", [True, False])
def test_autocast_lowers_the_product_as_it_lowers_the_map(bias: bool):
    m, x = nn.Linear(D, E, bias=bias), torch.randn(B, L, D)
    with torch.autocast("cpu", torch.bfloat16):
        wanted, y = m(x), channels_first(m, x)
        assert channels_last(nn.Linear(E, D), y).dtype == torch.bfloat16
    assert y.dtype == wanted.dtype == torch.bfloat16
    assert_close(y.mT.float(), wanted.float(), rtol=2**-6, atol=2**-6)
