"""The block, written out."""

import pytest
import torch
from torch.testing import assert_close

from hyena.configs.mixers import LETTERS, Activation
from hyena.models.block import Block
from hyena.modules.layers import MLP, GatedMLP, LayerNorm, OutsideRMSNorm, RMSNorm, activation
from tests import tolerances
from tests.models.small import small


@pytest.mark.parametrize("letter", LETTERS)
def test_a_mixer_and_an_mlp_are_added_to_the_stream(letter: str):
    block, x = Block(small(letter), 0).double(), torch.randn(2, 9, 16).double()
    between = x + block.mixer(block.mixer_norm(x))
    assert_close(block(x), between + block.mlp(block.mlp_norm(between)), **tolerances.FLOAT64)


@pytest.mark.parametrize(
    ("options", "norm", "mlp"),
    [
        ({}, LayerNorm, MLP),
        ({"norm": "rms", "mlp": "gated"}, RMSNorm, GatedMLP),
        ({"norm": "rms_outside", "mlp": "gated"}, OutsideRMSNorm, GatedMLP),
    ],
    ids=["layer and plain", "rms and gated", "rms with eps outside, and gated"],
)
def test_options_choose_the_parts(options: dict[str, str], norm: type, mlp: type):
    block = Block(small("A", norm_eps=0.25, mlp_width=24, activation="silu", **options), 0)
    assert type(block.mixer_norm) is type(block.mlp_norm) is norm
    assert block.mixer_norm.eps == block.mlp_norm.eps == 0.25
    assert type(block.mlp) is mlp
    assert block.mlp.up_proj.weight.shape == (24, 16)
    assert block.mlp.act is torch.nn.functional.silu


def test_dropout_takes_whole_contributions_in_training():
    block, x = Block(small("A", dropout=0.99), 0).double(), torch.randn(2, 9, 16).double()
    untouched = (block.train()(x) == x).double().mean()
    assert untouched > 0.9
    assert torch.equal(block.eval()(x), block(x))
    assert (block(x) == x).double().mean() < 0.1


@pytest.mark.parametrize(
    ("later", "wanted"), [(None, ["gelu", "gelu", "gelu"]), ("identity", ["gelu", "identity", "identity"])]
)
def test_later_mlps_may_have_another_activation(later: Activation | None, wanted: list[Activation]):
    config = small("AAA", mlp="gated", activation="gelu", later_activation=later)
    assert [Block(config, layer).mlp.act for layer in range(3)] == [activation(name) for name in wanted]
