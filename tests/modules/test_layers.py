"""Norms, activations and MLPs against their formulas, and the precision of the norms."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from hyena.configs.mixers import Activation
from hyena.modules.layers import MLP, MLPS, NORMS, GatedMLP, LayerNorm, OutsideRMSNorm, RMSNorm, activation
from tests import tolerances


def random_norm(kind: str, width: int = 8) -> LayerNorm | RMSNorm:
    """A float64 norm whose parameters are not at their start."""
    norm = NORMS[kind](width, 1e-3).double()
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    return norm


def test_layer_norm():
    norm, x = random_norm("layer"), torch.randn(2, 3, 8).double()
    variance = x.var(-1, correction=0, keepdim=True)
    wanted = (x - x.mean(-1, keepdim=True)) / (variance + 1e-3).sqrt() * norm.weight + norm.bias
    assert_close(norm(x), wanted, **tolerances.FLOAT64)


def test_rms_norm():
    norm, x = random_norm("rms"), torch.randn(2, 3, 8).double()
    wanted = x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt() * norm.weight
    assert_close(norm(x), wanted, **tolerances.FLOAT64)


def test_rms_norm_with_its_epsilon_outside_the_root():
    norm, x = random_norm("rms_outside"), 1e-3 * torch.randn(2, 3, 8).double()
    wanted = x / (x.norm(dim=-1, keepdim=True) / 8**0.5 + 1e-3) * norm.weight
    assert_close(norm(x), wanted, **tolerances.FLOAT64)
    assert not torch.allclose(norm(x), RMSNorm.forward(norm, x))
    assert norm(torch.zeros(1, 1, 8)).count_nonzero() == 0


@pytest.mark.parametrize("kind", NORMS)
def test_a_norm_starts_as_the_identity_of_normed_signals(kind: str):
    norm = NORMS[kind](4, 0.0)
    x = torch.tensor([[[1.0, -1.0, 1.0, -1.0]]])
    assert_close(norm(x), x)


@pytest.mark.parametrize("kind", NORMS)
def test_half_precision_norms_compute_in_float32(kind: str):
    single = random_norm(kind, 64).bfloat16().float()
    half = random_norm(kind, 64).bfloat16()
    half.load_state_dict(single.state_dict())
    stream = 300 + torch.randn(2, 5, 64)  # a float32 stream, whose variance bfloat16 could not see
    y = half(stream)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, single(stream).bfloat16())
    assert_close(half(stream.bfloat16()).float(), single(stream.bfloat16().float()), **tolerances.BFLOAT16)


@pytest.mark.parametrize("kind", NORMS)
def test_norms_never_cast_down(kind: str):
    norm = random_norm(kind)
    assert norm(torch.randn(1, 2, 8).double()).dtype == torch.float64
    assert norm(torch.randn(1, 2, 8)).dtype == torch.float64


FUNCTIONS = {
    "identity": lambda x: x,
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "gelu_tanh": lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))),
    "relu": lambda x: x.clamp(min=0),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "tanh": torch.tanh,
}


@pytest.mark.parametrize("name", get_args(Activation))
def test_every_activation_that_can_be_named(name: Activation):
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)
    assert_close(activation(name)(x), FUNCTIONS[name](x), **tolerances.FLOAT64)


def test_plain_mlp():
    mlp, x = MLP(4, 6, "relu").double(), torch.randn(2, 3, 4).double()
    wanted = (x @ mlp.up_proj.weight.T + mlp.up_proj.bias).clamp(min=0) @ mlp.down_proj.weight.T + mlp.down_proj.bias
    assert_close(mlp(x), wanted, **tolerances.FLOAT64)
    assert mlp.up_proj.weight.shape == (6, 4)


def test_gated_mlp():
    mlp, x = GatedMLP(4, 6, "silu").double(), torch.randn(2, 3, 4).double()
    wanted = (F.silu(x @ mlp.gate_proj.weight.T) * (x @ mlp.up_proj.weight.T)) @ mlp.down_proj.weight.T
    assert_close(mlp(x), wanted, **tolerances.FLOAT64)
    assert all(parameter.ndim == 2 for parameter in mlp.parameters())


def test_the_tables_hold_every_kind():
    assert {"plain": MLP, "gated": GatedMLP} == MLPS
    assert {"layer": LayerNorm, "rms": RMSNorm, "rms_outside": OutsideRMSNorm} == NORMS
