"""The compiled kernel under PyTorch's machinery: registration, one graph, autocast, what is kept for the gradient."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hyena.configs.mixers import HyenaConfig
from hyena.modules import build
from hyena.ops import gated, kernel, long_conv, prepare
from hyena.ops.hyena_conv import hyena_conv_backward_op, hyena_conv_op
from tests.helpers import python
from tests.ops.oracle import KERNEL, fused, inputs, whole

pytestmark = KERNEL
B, D, L, K, G = 2, 4, 9, 5, 2
WITHOUT_GRADIENT = ["test_schema", "test_autograd_registration", "test_faketensor"]


@pytest.mark.parametrize(
    ("backend", "dtype"),
    [("native", torch.float32), ("native", torch.bfloat16), ("fir", torch.float32), ("fft", torch.float32)],
    ids=str,
)
def test_pytorch_finds_nothing_wrong_with_the_operator_of_a_whole_mixer(backend: str, dtype: torch.dtype):
    given = whole(B, D, L, K, G, dtype=dtype)
    made = prepare(given.h, L, backend=backend)
    prepared = given._replace(h=made.h)
    torch.library.opcheck(
        hyena_conv_op, (*prepared, made.taps.spectrum, made.taps.n, backend, False), test_utils=WITHOUT_GRADIENT
    )
    leaves = given.leaves()
    torch.library.opcheck(hyena_conv_op, (*leaves, None, 0, backend, True))
    bare = leaves._replace(offset=None, skip=None)
    torch.library.opcheck(
        hyena_conv_op, (*bare, None, 0, backend, True), test_utils=[*WITHOUT_GRADIENT, "test_aot_dispatch_static"]
    )


@pytest.mark.parametrize("backend", [*kernel.KERNELS, "direct", "fft"])
@pytest.mark.parametrize("needs", ["all", "taps and h", "streams, offset and skip"])
def test_pytorch_finds_nothing_wrong_with_the_gradient_of_a_whole_mixer(needs: str, backend: str):
    given = whole(B, D, L, K, G, dtype=torch.bfloat16)
    wanted = [needs == "all" or name in needs for name in given._fields]
    arguments = (torch.randn(B, D, L).bfloat16(), *given, None, 0, backend, wanted)
    torch.library.opcheck(hyena_conv_backward_op, arguments, test_utils=["test_schema", "test_faketensor"])
    found = hyena_conv_backward_op(*arguments)
    assert [(g.shape, g.dtype) for g, need in zip(found, wanted, strict=True) if need] == [
        (t.shape, t.dtype) for t, need in zip(given, wanted, strict=True) if need
    ]


@pytest.mark.parametrize("backend", kernel.KERNELS)
@pytest.mark.parametrize("needs", [[True] * 5, [False, True, False, False, True], [True, False, True, True, False]], ids=str)
def test_pytorch_finds_nothing_wrong_with_the_gradient_of_a_convolution(needs: list[bool], backend: str):
    given = [t.bfloat16() for t in inputs(B, D, L, K, G)]
    arguments = (torch.randn(B, D, L).bfloat16(), *given, None, 0, backend, needs)
    torch.library.opcheck(gated.long_conv_backward_op, arguments, test_utils=["test_schema", "test_faketensor"])


# --- one graph --------------------------------------------------------------------------------------------------------------

COMPILED = """
import torch
from hyena.configs.mixers import HyenaConfig
from hyena.modules import build
from hyena.ops import hyena_conv, long_conv, prepare
from hyena.ops import native


def same(f, *inputs):
    inputs = [t.requires_grad_() for t in inputs]
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    z = compiled(*inputs)
    found = torch.autograd.grad(z.square().sum(), inputs)
    y = f(*inputs)
    wanted = torch.autograd.grad(y.square().sum(), inputs)
    assert torch.equal(y, z)
    assert all(map(torch.equal, wanted, found))

B, D, G, L = 2, 4, 2, 600
same(lambda u, h, skip, pre, post: 2 * long_conv(u, h, skip, pre=pre, post=post, backend="native"),
     torch.randn(B, D, L), torch.randn(G, L), torch.randn(D), torch.randn(B, D, L), torch.randn(B, D, L))
same(lambda x, taps, bias, offset, h, skip: 2 * hyena_conv(x.mT, taps, bias, h, skip, offset=offset, backend="fir"),
     torch.randn(B, L, 3 * D), torch.randn(3 * D, 3), *torch.randn(2, 3 * D), torch.randn(G, L), torch.randn(D))

mixer = build(HyenaConfig(), 16, L, "error").train()
weights = [p for p in mixer.parameters()]
compiled = torch.compile(mixer, fullgraph=True, backend="aot_eager")
x = torch.randn(B, L, 16)
found = torch.autograd.grad(compiled(x).square().sum(), weights)
wanted = torch.autograd.grad(mixer(x).square().sum(), weights)
assert all(torch.equal(a, b) for a, b in zip(found, wanted))
with torch.no_grad():
    assert torch.equal(compiled.eval()(x), mixer(x))
assert native.status().isa, native.status()
print("equal")
"""


def test_one_compiled_graph_gives_the_same_also_as_the_first_use_of_the_kernel():
    assert python(COMPILED) == "equal"


# --- autocast and modes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [*kernel.KERNELS, "direct"])
def test_autocast_changes_nothing_inside_a_whole_mixer(backend: str):
    given = whole(B, D, L, K, G, dtype=torch.float32).leaves()
    y = fused(given, backend)
    plain = torch.autograd.grad(y.sum(), given)
    with torch.autocast("cpu", torch.bfloat16):
        cast = fused(given, backend)
        again = torch.autograd.grad(cast.sum(), given)
    assert cast.dtype == torch.float32
    assert torch.equal(cast, y)
    assert all(map(torch.equal, plain, again))


def test_a_mixer_under_autocast_runs_the_kernel_on_bfloat16_streams(called: Counter[str]):
    m, x = build(HyenaConfig(), 16, 64, "error"), torch.randn(2, 64, 16)
    exact = m(x)
    with torch.autocast("cpu", torch.bfloat16):
        y = m(x)
    y.float().square().sum().backward()
    assert called == {"forward": 2, "backward": 1}
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.dtype == torch.float32 for p in m.parameters())
    assert (y.float() - exact).norm() < 0.05 * exact.norm()


# --- memory -----------------------------------------------------------------------------------------------------------------


def kept(f: Callable[[], object]) -> list[Tensor]:
    """The tensors that are kept for the gradient of f()."""
    tensors: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: tensors.append(t) or t, lambda t: t):
        f()
    return tensors


@pytest.mark.parametrize("backend", ["auto", *kernel.KERNELS])
def test_only_the_inputs_are_kept_for_the_gradient(backend: str):
    given = inputs(2, 4, 200, 200, 2, torch.float32).leaves()
    found = kept(lambda: long_conv(given.u, given.h, given.skip, **given.gates(), backend=backend))
    assert {t.data_ptr() for t in found} == {t.data_ptr() for t in given}
    assert len(found) == 5
    leaves = whole(2, 4, 200, 200, 2, dtype=torch.float32).leaves()
    found = kept(lambda: fused(leaves, backend))
    assert {t.data_ptr() for t in found} == {t.data_ptr() for t in leaves}
    assert len(found) == 6
    assert sum(t.nbytes for t in found if t.ndim == 3) == leaves.streams.nbytes  # the streams alone


def test_what_is_kept_may_come_back_elsewhere():
    # As from a disk or another device: other strides, another address.
    given = inputs(2, 4, 50, 50, 2, torch.float32)
    spectrum = prepare(given.h, 50, backend="native")
    u, cotangent = given.u.requires_grad_(), torch.randn_like(given.u)
    wanted = torch.autograd.grad(long_conv(u, spectrum), u, cotangent)[0]

    def moved(t: Tensor) -> Tensor:
        return t.new_empty(t.numel() + 1)[1:].view(t.shape[::-1]).permute(*range(t.ndim - 1, -1, -1)).copy_(t)

    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, moved):
        y = long_conv(u, spectrum)
        assert torch.equal(torch.autograd.grad(y, u, cotangent)[0], wanted)
