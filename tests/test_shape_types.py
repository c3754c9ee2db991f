"""The checks of annotations are on, and they see shapes that the code itself would let pass."""

import jaxtyping
import pytest
import torch
from torch import nn

from hyena.configs.mixers import AttentionConfig
from hyena.modules import build
from hyena.modules.layers import LayerNorm
from hyena.ops import long_conv
from tests.helpers import unchecked

pytest.importorskip("beartype", reason="beartype (the extra `test`) is not installed: annotations go unchecked")


def test_a_wrong_shape_is_rejected_where_the_code_would_compute():
    norm, x = LayerNorm(4, 1e-5), torch.zeros(2, 4)  # (B, L, D) is promised
    with unchecked():
        assert norm(x).shape == (2, 4)
    with pytest.raises(jaxtyping.TypeCheckError, match="B L D"):
        norm(x)


def test_one_axis_must_have_one_size_in_all_arguments():
    u, h = torch.zeros(1, 2, 4), torch.zeros(2, 3)
    with pytest.raises(jaxtyping.TypeCheckError, match="skip"):
        long_conv(u, h, torch.zeros(3))


def test_the_result_must_keep_its_promise():
    mixer, x = build(AttentionConfig(), 8, max_length=4, beyond="error"), torch.zeros(1, 4, 8)
    mixer.out_proj = nn.Linear(8, 9)
    with unchecked():
        assert mixer(x).shape == (1, 4, 9)
    with pytest.raises(jaxtyping.TypeCheckError, match="return value"):
        mixer(x)
