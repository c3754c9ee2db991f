"""`hyena_conv` against its parts, the short convolutions and `long_conv`: every backend, layout and dtype; what is refused."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.ops import direct, hyena_conv, kernel, long_conv, prepare
from tests import tolerances
from tests.helpers import loudness, refused
from tests.ops.oracle import BACKENDS, Whole, composition, fused, gradients, whole

EVERY = [*BACKENDS, "auto"]
SHAPES = [  # B, D, L, K, G and S, the taps of the short convolution
    (2, 4, 50, 50, 4, 3),
    (3, 4, 50, 50, 2, 3),
    (2, 6, 37, 9, 1, 4),
    (1, 1, 1, 1, 1, 1),
    (2, 2, 2, 5, 2, 4),  # more taps than tokens, of both filters
    (1, 20, 70, 70, 10, 3),
    (2, 3, 300, 20, 3, 9),
]


def assert_same(actual: Tensor, wanted: Tensor) -> None:
    """Equal but for float64's rounding, relative to the largest number."""
    assert_close(actual, wanted, rtol=0.0, atol=tolerances.FLOAT64["atol"] * loudness(wanted))


def assert_right(given: Whole, backend: str, cotangent: Tensor | None = None) -> None:
    """The output and all gradients are those of the composition."""
    given = given.leaves()
    y, wanted = fused(given, backend), composition(given)
    cotangent = torch.randn(wanted.shape, dtype=wanted.dtype) if cotangent is None else cotangent
    assert_same(y, wanted)
    rights = gradients(wanted, given, cotangent)
    for name, gradient in gradients(y, given, cotangent).items():
        assert_same(gradient, rights[name])


def test_the_composition_is_depthwise_convolutions_and_a_long_one():
    given = whole(2, 4, 30, 30, 2)
    short = direct.depthwise(given.streams + given.offset[:, None], given.taps, given.bias)
    q, k, v = short.chunk(3, dim=1)
    assert_same(composition(given), long_conv(v, given.h, given.skip, pre=k, post=q, backend="direct"))


@pytest.mark.parametrize("backend", EVERY)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_those_of_the_parts(shape: tuple[int, ...], backend: str):
    assert_right(whole(*shape), backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("absent", [("offset",), ("skip",), ("bias",), ("offset", "skip", "bias")], ids="-".join)
def test_whatever_is_not_given_is_left_out(absent: tuple[str, ...], backend: str):
    assert_right(whole(2, 4, 33, 33, 2)._replace(**dict.fromkeys(absent)), backend)


LAYOUTS = {
    "channels first": lambda t: t.contiguous(),
    "channels last": lambda t: t.mT.contiguous().mT,
    "every second": lambda t: t.repeat_interleave(2, dim=-1)[..., ::2],
    "unaligned": lambda t: t.new_empty(t.numel() + 1)[1:].view(t.shape).copy_(t),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_streams_may_be_laid_out_in_any_way(layout: str, backend: str):
    given = whole(2, 8, 45, 45, 4)
    laid = given._replace(streams=LAYOUTS[layout](given.streams), taps=given.taps.mT.contiguous().mT)
    assert_right(laid, backend, LAYOUTS[layout](torch.randn(2, 8, 45, dtype=torch.float64)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_expanded_streams_and_gradients_are_summed(backend: str):
    given = whole(2, 4, 20, 20, 2)
    shared = torch.randn(1, 12, 20, dtype=torch.float64, requires_grad=True)
    results = [f(given._replace(streams=shared.expand(2, 12, 20))) for f in (lambda g: fused(g, backend), composition)]
    assert_same(*results)
    assert_same(*(torch.autograd.grad(y.sum(), shared)[0] for y in results))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("asking", Whole._fields)
def test_any_input_alone_may_ask_for_its_gradient(asking: str, backend: str):
    given = whole(2, 4, 20, 7, 2)
    getattr(given, asking).requires_grad_()
    cotangent = torch.randn(2, 4, 20, dtype=torch.float64)
    actual, wanted = (gradients(f(given), given, cotangent) for f in (lambda g: fused(g, backend), composition))
    assert set(actual) == {asking}
    assert_same(actual[asking], wanted[asking])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_stored_and_never_computed_in(dtype: torch.dtype, backend: str):
    half = {torch.bfloat16: tolerances.BFLOAT16, torch.float16: tolerances.FLOAT16}[dtype]
    given = whole(2, 4, 100, 100, 2, dtype=dtype).leaves()
    exact = given.to(torch.float64).leaves()
    y, wanted = fused(given, backend), composition(exact)
    cotangent = torch.randn(2, 4, 100).to(dtype)
    rights, found = gradients(wanted, exact, cotangent.double()), gradients(y, given, cotangent)
    for a, w in [(y, wanted), *((found[name], rights[name]) for name in found)]:
        assert a.dtype == dtype
        assert_close(a.double(), w.detach(), rtol=half["rtol"], atol=half["atol"] * loudness(w))


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_streams_meet_float32_parameters(backend: str):
    given = whole(2, 4, 60, 60, 2, dtype=torch.float32)
    given = given._replace(streams=given.streams.bfloat16()).leaves()
    y = fused(given, backend)
    found = gradients(y, given, torch.ones_like(y))
    assert {name: g.dtype for name, g in found.items() if g.dtype != torch.float32} == {"streams": torch.bfloat16}
    assert_close(y.double(), composition(given.to(torch.float64)), rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize("backend", EVERY)
def test_a_prepared_filter_gives_the_same(backend: str):
    given = whole(2, 4, 65, 65, 2)
    wanted = composition(given)
    for length in (65, 150):
        spectrum = prepare(given.h, length, channels=4, backend=backend)
        assert_same(fused(given._replace(h=spectrum)), wanted)
        assert_same(fused(given._replace(h=spectrum), spectrum.backend), wanted)
    leaves = given._replace(h=None).leaves()._replace(h=spectrum)
    found = torch.autograd.grad(fused(leaves).sum(), [leaves.streams, leaves.taps])
    right = torch.autograd.grad(composition(leaves._replace(h=given.h)).sum(), [leaves.streams, leaves.taps])
    assert_same(found[0], right[0])
    assert_same(found[1], right[1])


@pytest.mark.parametrize("backend", EVERY)
def test_no_sequence_has_an_empty_result(backend: str):
    given = whole(0, 4, 9, 5, 2).leaves()
    y = fused(given, backend)
    assert y.shape == (0, 4, 9)
    assert all(not gradient.any() for gradient in gradients(y, given, torch.zeros_like(y)).values())


@pytest.mark.parametrize("backend", BACKENDS)
def test_inputs_stay_as_they_were(backend: str):
    given = whole(1, 4, 40, 40, 4)
    before = [t.clone() for t in given]
    leaves = given.leaves()
    y = fused(leaves, backend)
    gradients(y, leaves, torch.ones_like(y))
    assert all(map(torch.equal, before, given))


def test_shapes_alone_are_enough_on_the_meta_device():
    y = fused(Whole(*(t.to("meta") for t in whole(2, 4, 9, 5, 2, dtype=torch.bfloat16))))
    assert (y.device.type, y.shape, y.dtype) == ("meta", (2, 4, 9), torch.bfloat16)


def test_without_the_kernel_pytorch_computes_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernel, "available", lambda: False)
    monkeypatch.setattr(kernel, "forward", lambda *_: pytest.fail("there is no kernel"))
    for shape in SHAPES:
        assert_right(whole(*shape), "auto")
        given = whole(*shape)
        spectrum = prepare(given.h, shape[2], channels=shape[1])
        assert spectrum.backend not in kernel.KERNELS
        assert_same(fused(given._replace(h=spectrum)), composition(given))
    for backend in kernel.KERNELS:
        with refused("no native kernel", "backend='auto'"):
            prepare(given.h, 9, backend=backend)


def test_insisting_on_a_kernel_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernel, "available", lambda: False)
    for backend in kernel.KERNELS:
        with refused("no native kernel", "backend='auto'"):
            fused(whole(2, 4, 9, 5, 2), backend)


# --- refusals ---------------------------------------------------------------------------------------------------------------

GIVEN = whole(2, 4, 20, 20, 2, dtype=torch.float32)
NEEDED = ["streams (B, 3 D, L)", "taps (3 D, S)", "D % G == 0", "and skip (D,) or None"]
SHORT = prepare(GIVEN.h, 19, backend="fft")
REFUSED = {
    "streams of two axes": ({"streams": GIVEN.streams[0]}, [*NEEDED, "(12, 20)"]),
    "streams that are no three": ({"streams": GIVEN.streams[:, :11]}, [*NEEDED, "(2, 11, 20)"]),
    "no token": ({"streams": GIVEN.streams[..., :0]}, [*NEEDED, "(2, 12, 0)"]),
    "no channel": ({"streams": GIVEN.streams[:, :0]}, [*NEEDED, "(2, 0, 20)"]),
    "taps of one axis": ({"taps": GIVEN.taps[:, 0]}, [*NEEDED, "(12,)"]),
    "taps of other channels": ({"taps": GIVEN.taps[:9]}, [*NEEDED, "(9, 3)"]),
    "no tap": ({"taps": GIVEN.taps[:, :0]}, [*NEEDED, "(12, 0)"]),
    "bias of other channels": ({"bias": GIVEN.bias[:4]}, [*NEEDED, "(4,)"]),
    "bias of two axes": ({"bias": GIVEN.bias[:, None]}, [*NEEDED, "(12, 1)"]),
    "offset of other channels": ({"offset": GIVEN.bias[:11]}, [*NEEDED, "offset (3 D,)", "(11,)"]),
    "h of one axis": ({"h": GIVEN.h[0]}, [*NEEDED, "(20,)"]),
    "no filter": ({"h": GIVEN.h[:0]}, [*NEEDED, "(0, 20)"]),
    "no tap of the filter": ({"h": GIVEN.h[:, :0]}, [*NEEDED, "(2, 0)"]),
    "D is no multiple of G": ({"h": torch.zeros(3, 20)}, [*NEEDED, "(3, 20)"]),
    "skip of other channels": ({"skip": torch.zeros(3)}, [*NEEDED, "(3,)"]),
    "skip of two axes": ({"skip": torch.zeros(4, 1)}, [*NEEDED, "(4, 1)"]),
    "whole numbers": ({"streams": GIVEN.streams.long()}, ["streams is torch.int64", "floating-point"]),
    "complex taps": ({"taps": GIVEN.taps.cfloat()}, ["taps is torch.complex64", "real"]),
    "bias finer than the streams": ({"bias": GIVEN.bias.double()}, ["bias is float64", "torch.float32", "convert"]),
    "filter finer than the streams": ({"h": GIVEN.h.double()}, ["h is float64", "torch.float32", "convert"]),
    "offset finer than the streams": ({"offset": GIVEN.bias.double()}, ["offset is float64", "torch.float32", "convert"]),
    "another device": ({"h": GIVEN.h.to("meta")}, ["h is on meta", "streams on cpu", "one device"]),
    "longer than prepared": ({"h": SHORT}, ["20 tokens", "prepared for 19", "prepare it for 20"]),
    "coarser than the streams": (
        {**GIVEN.to(torch.float64)._asdict(), "h": prepare(GIVEN.h, 20, backend="fft")},
        ["float64", "prepared in torch.float32", "prepare its taps in float64"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("backend", ["auto", "direct"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_named_with_its_cure(case: str, backend: str):
    changed, parts = REFUSED[case]
    with refused(*parts):
        fused(GIVEN._replace(**changed), backend)


def test_a_backend_that_there_is_not_is_refused():
    with refused("'ftf'", "'auto'", "'direct'", "'native'"):
        fused(GIVEN, "ftf")
    with refused("'fft'", "'direct'", "prepare"):
        fused(GIVEN._replace(h=prepare(GIVEN.h, 20, backend="fft")), "direct")


def test_the_taps_of_the_present_come_first():
    # By hand: streams q = 1, k = 1, v = (1, 10, 100), the short convolution of v looks back by one token.
    streams = torch.tensor([[[1.0, 1, 1], [1, 1, 1], [1, 10, 100]]])
    taps = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    y = hyena_conv(streams, taps, torch.zeros(3), torch.tensor([[1.0, 2.0]]))
    assert y.flatten().round().tolist() == [0, 1, 12]
