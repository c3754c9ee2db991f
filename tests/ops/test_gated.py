"""The PyTorch operator: its precision, and its registration."""

import pytest
import torch

from hyena.ops import gated, prepare
from tests.helpers import refused
from tests.ops.oracle import BACKENDS, inputs


@pytest.mark.parametrize(
    ("u", "h", "computed"),
    [
        (torch.float32, torch.float32, torch.float32),
        (torch.bfloat16, torch.bfloat16, torch.float32),
        (torch.float16, torch.float32, torch.float32),
        (torch.float64, torch.float32, torch.float64),
        (torch.float64, torch.bfloat16, torch.float64),
    ],
    ids=str,
)
def test_the_dtype_of_the_computation(u: torch.dtype, h: torch.dtype, computed: torch.dtype):
    assert gated.compute_dtype(torch.zeros(1, dtype=u), torch.zeros(1, dtype=h)) == computed


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("given", ["all", "no gates", "prepared"])
def test_pytorch_finds_nothing_wrong_with_the_operator(given: str, backend: str):
    u, h, skip, pre, post = (None if t is None else t.float() for t in inputs(2, 4, 9, 5, 2))
    if given == "all":
        arguments = (u, h, skip, pre, post, None, 0, backend, False)
    elif given == "no gates":
        arguments = (u, h, None, None, None, None, 0, backend, False)
    else:
        spectrum = prepare(h, 9, backend=backend)
        arguments = (u, spectrum.h, skip, pre, post, spectrum.taps.spectrum, spectrum.taps.n, backend, False)
    torch.library.opcheck(
        gated.long_conv_op, arguments, test_utils=["test_schema", "test_autograd_registration", "test_faketensor"]
    )
    leaves = [t.requires_grad_() if isinstance(t, torch.Tensor) and t.is_floating_point() else t for t in arguments]
    torch.library.opcheck(gated.long_conv_op, tuple(leaves))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("needs", [[True] * 5, [False, True, False, False, True], [True, False, True, True, False]], ids=str)
def test_pytorch_finds_nothing_wrong_with_its_gradient(needs: list[bool], dtype: torch.dtype):
    gy, *given = (t.to(dtype) for t in (torch.randn(2, 4, 9), *inputs(2, 4, 9, 5, 2)))
    arguments = (gy, *given, None, 0, "fft", needs)
    torch.library.opcheck(gated.long_conv_backward_op, arguments, test_utils=["test_schema", "test_faketensor"])
    found = gated.long_conv_backward_op(*arguments)
    assert [(g.shape, g.dtype) for g, need in zip(found, needs, strict=True) if need] == [
        (t.shape, t.dtype) for t, need in zip(given, needs, strict=True) if need
    ]


@pytest.mark.parametrize("backend", [*BACKENDS, "auto"])
def test_taps_that_no_token_meets_are_cut_inside(backend: str):
    """As an exported program hands them over, whose length is open."""
    u, h, skip, pre, post = inputs(2, 4, 9, 50, 2)
    found = gated.long_conv_op(u, h, skip, pre, post, None, 0, backend, False)
    assert torch.equal(found, gated.long_conv_op(u, h[:, :9], skip, pre, post, None, 0, backend, False))
    needs = [True, False, True, True, True]
    gy = torch.randn_like(u)
    grads = [gated.long_conv_backward_op(gy, u, taps, skip, pre, post, None, 0, backend, needs) for taps in (h, h[:, :9])]
    assert all(map(torch.equal, *grads))
    with refused("no gradient for 50 taps over 9 tokens"):
        gated.long_conv_backward_op(u, u, h, skip, pre, post, None, 0, backend, [True] * 5)
