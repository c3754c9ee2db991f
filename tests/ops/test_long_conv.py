"""`long_conv` against its definition: every backend, shape, dtype and layout; `prepare`; what is refused."""

import copy
import functools
import itertools
import pickle

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.ops import kernel, long_conv, prepare
from tests import tolerances
from tests.helpers import loudness, python, refused, right_or_refused
from tests.ops.oracle import BACKENDS, Inputs, gradients, inputs, oracle

TAPS = {"K=1": lambda L: 1, "K=3": lambda L: 3, "K=L": lambda L: L, "K>L": lambda L: L + 7}
SHAPES = [(L, K, G) for L in (1, 2, 63, 64, 65) for K in TAPS for G in (1, 2, 4)]
SHAPES += [(L, K, G) for L, G in ((997, 1), (997, 4), (1000, 2)) for K in TAPS]
HALF = {torch.bfloat16: tolerances.BFLOAT16, torch.float16: tolerances.FLOAT16}
B, D = 3, 4


@functools.lru_cache(maxsize=1)
def expected(L: int, K: int, G: int) -> tuple[Inputs, Tensor, Tensor, dict[str, Tensor]]:
    """Inputs, the oracle's output, a cotangent and the oracle's gradients."""
    torch.manual_seed(L * 31 + K * 7 + G)
    given = inputs(B, D, L, K, G).leaves()
    y = oracle(*given)
    cotangent = torch.randn_like(y)
    return given, y.detach(), cotangent, gradients(y, given, cotangent)


def assert_same(actual: Tensor, wanted: Tensor) -> None:
    """Equal but for float64's rounding, relative to the largest number; the shape and the dtype too."""
    rounding = tolerances.FLOAT64["atol"] * loudness(wanted)
    assert_close(actual, wanted, rtol=0.0, atol=rounding)


def apply(given: Inputs, backend: str) -> Tensor:
    """`long_conv` of inputs."""
    return long_conv(given.u, given.h, given.skip, **given.gates(), backend=backend)


# --- is it right? -----------------------------------------------------------------------------------------------------------


def test_the_oracle_is_the_definition():
    B, D, L, K, G = 2, 4, 5, 3, 2
    given = inputs(B, D, L, K, G)
    u, h, skip, pre, post = (t.tolist() for t in given if t is not None)
    y = oracle(*given)
    for b, d, t in itertools.product(range(B), range(D), range(L)):
        x = [pre[b][d][s] * u[b][d][s] for s in range(L)]
        conv = sum(h[d // (D // G)][k] * x[t - k] for k in range(K) if k <= t)
        assert abs(post[b][d][t] * (conv + skip[d] * x[t]) - y[b, d, t]) < 1e-14


def test_fresh_memory_is_poisoned():
    assert torch.empty(3).isnan().all()


@pytest.mark.parametrize("backend", [*BACKENDS, "auto"])
@pytest.mark.parametrize(("L", "K", "G"), SHAPES)
def test_values_and_gradients_are_the_definitions(L: int, K: str, G: int, backend: str):
    given, y, cotangent, wanted = expected(L, TAPS[K](L), G)
    actual = apply(given, backend)
    assert_same(actual, y)
    for name, gradient in gradients(actual, given, cotangent).items():
        assert_same(gradient, wanted[name])


@pytest.mark.parametrize("backend", [*BACKENDS, "auto"])
@pytest.mark.parametrize("G", [1, 2, 4])
@pytest.mark.parametrize("K", TAPS)
@pytest.mark.parametrize("L", [1, 2, 65, 200])
def test_a_prepared_filter_gives_the_same(L: int, K: str, G: int, backend: str):
    given, y, cotangent, wanted = expected(L, TAPS[K](L), G)
    for length in (L, 2 * L + 3):  # prepared for a longer sequence, it serves the shorter one too
        spectrum = prepare(given.h.detach(), length, channels=D, backend=backend)
        prepared = given._replace(h=given.h.detach())
        actual = long_conv(given.u, spectrum, given.skip, **given.gates())
        assert_same(actual, y)
        for name, gradient in gradients(actual, prepared, cotangent).items():
            assert_same(gradient, wanted[name])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("absent", [("skip",), ("pre",), ("post",), ("skip", "pre", "post")], ids="-".join)
def test_whatever_is_not_given_is_left_out(absent: tuple[str, ...], backend: str):
    given = inputs(2, 4, 33, 9, 2)._replace(**dict.fromkeys(absent)).leaves()
    y, cotangent = oracle(*given), torch.randn(2, 4, 33, dtype=torch.float64)
    actual, wanted = apply(given, backend), gradients(y, given, cotangent)
    assert_same(actual, y)
    for name, gradient in gradients(actual, given, cotangent).items():
        assert_same(gradient, wanted[name])


SUBSETS = [subset for n in range(1, 6) for subset in itertools.combinations(Inputs._fields, n)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("asking", SUBSETS, ids="-".join)
def test_any_inputs_may_ask_for_gradients(asking: tuple[str, ...], backend: str):
    given = inputs(2, 4, 20, 7, 2)
    for name in asking:
        getattr(given, name).requires_grad_()
    cotangent = torch.randn(2, 4, 20, dtype=torch.float64)
    wanted = gradients(oracle(*given), given, cotangent)
    actual = gradients(apply(given, backend), given, cotangent)
    assert set(actual) == set(asking)
    for name in asking:
        assert_same(actual[name], wanted[name])


def transposed(x: Tensor) -> Tensor:
    """The same numbers as a transposed view, as modules hand them over."""
    return x.transpose(-1, -2).contiguous().transpose(-1, -2)


def strided(x: Tensor) -> Tensor:
    """The same numbers as every second one of a larger tensor, along every axis."""
    large = torch.full([2 * n for n in x.shape], torch.nan, dtype=x.dtype)
    view = large[tuple(slice(1, None, 2) for _ in x.shape)]
    return view.copy_(x)


LAYOUTS = {"transposed": transposed, "strided": strided}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_does_not_matter(layout: str, backend: str):
    given = inputs(3, 4, 37, 11, 2)
    views = Inputs(*(LAYOUTS[layout](t) if t is not None and (t.ndim > 1 or layout == "strided") else t for t in given))
    assert not views.u.is_contiguous()
    views = Inputs(*(t.requires_grad_() for t in views if t is not None))
    y, cotangent = oracle(*views), LAYOUTS[layout](torch.randn(3, 4, 37, dtype=torch.float64))
    actual, wanted = apply(views, backend), gradients(y, views, cotangent)
    assert_same(actual, y)
    for name, gradient in gradients(actual, views, cotangent).items():
        assert_same(gradient, wanted[name])


@pytest.mark.parametrize("backend", BACKENDS)
def test_gates_may_be_expanded(backend: str):
    given = inputs(2, 4, 30, 30, 4)
    shared = torch.randn(2, 1, 30, dtype=torch.float64, requires_grad=True)  # one gate for all channels
    constant = torch.randn((), dtype=torch.float64, requires_grad=True)
    gates = {"pre": shared.expand(2, 4, 30), "post": constant.expand(2, 4, 30)}
    cotangent = torch.randn(2, 4, 30, dtype=torch.float64).mT.contiguous().mT
    results = [f(given.u, given.h, given.skip, **gates) for f in (functools.partial(long_conv, backend=backend), oracle)]
    for actual, wanted in zip(*(torch.autograd.grad(y, [shared, constant], cotangent) for y in results), strict=True):
        assert_same(actual, wanted)
    assert_same(*results)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_expanded_gradient_is_summed(backend: str):
    given = inputs(2, 4, 30, 5, 2).leaves()
    actual, wanted = (
        torch.autograd.grad(y.sum(), [t for t in given if t is not None]) for y in (apply(given, backend), oracle(*given))
    )
    for a, w in zip(actual, wanted, strict=True):
        assert_same(a, w)


@pytest.mark.parametrize("backend", BACKENDS)
def test_inputs_stay_as_they_were(backend: str):
    given = inputs(1, 4, 40, 40, 4).leaves()  # one sequence, all channels: nothing needs to be copied to be contiguous
    before = [t.detach().clone() for t in given if t is not None]
    cotangent = torch.randn(1, 4, 40, dtype=torch.float64)
    kept = cotangent.clone()
    gradients(apply(given, backend), given, cotangent)
    assert all(map(torch.equal, before, (t for t in given if t is not None)))
    assert torch.equal(cotangent, kept)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_of_a_filter_add_up_over_sequences_and_channels(backend: str):
    given = inputs(3, 4, 50, 20, 1).leaves()
    cotangent = torch.randn(3, 4, 50, dtype=torch.float64)
    together = gradients(apply(given, backend), given, cotangent)["h"]
    total = torch.zeros_like(together)
    for b, d in itertools.product(range(3), range(4)):
        one = Inputs(
            given.u[b, d][None, None], given.h, given.skip[d : d + 1], given.pre[b, d][None, None], given.post[b, d][None, None]
        )
        y = apply(one, backend)
        total += torch.autograd.grad(y, given.h, cotangent[b, d][None, None])[0]
    assert_same(together, total)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("L", [64, 1000], ids="L={}".format)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_past_does_not_see_the_future(dtype: torch.dtype, L: int, backend: str):
    given = inputs(2, 4, L, L, 2, dtype)
    cut = L // 2
    future = given.u.clone()
    future[..., cut:] += 100 * torch.randn_like(future[..., cut:])
    y, perturbed = apply(given, backend), apply(given._replace(u=future), backend)
    leak = (y - perturbed)[..., :cut].abs().max().item()
    bound = tolerances.LEAK["direct" if backend == "direct" else str(dtype).removeprefix("torch.")]
    assert leak <= bound * loudness(perturbed)
    assert (y - perturbed)[..., cut:].abs().max() > 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_gradient_reaches_the_future(backend: str):
    given, cut = inputs(2, 4, 100, 100, 2).leaves(), 50
    y = apply(given, backend)
    cotangent = torch.zeros_like(y)
    cotangent[..., :cut] = torch.randn_like(cotangent[..., :cut])
    reached = gradients(y, given, cotangent)
    for name in ("u", "pre", "post"):
        bound = tolerances.LEAK["direct" if backend == "direct" else "float64"]
        assert reached[name][..., cut:].abs().max() <= bound * loudness(reached[name])
    assert reached["h"][:, cut:].abs().max() <= tolerances.LEAK["float64"] * loudness(reached["h"])


@pytest.mark.parametrize("backend", [*BACKENDS, "auto"])
def test_no_sequence_has_an_empty_result(backend: str):
    given = inputs(0, 4, 9, 5, 2).leaves()
    y = apply(given, backend)
    assert y.shape == (0, 4, 9)
    assert all(not gradient.any() for gradient in gradients(y, given, torch.zeros_like(y)).values())


# --- precision --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("L", [65, 1000], ids="L={}".format)
def test_float32_is_close_to_float64(L: int, backend: str):
    given = inputs(2, 4, L, L, 2, torch.float32).leaves()
    exact = given.to(torch.float64).leaves()
    cotangent = torch.randn(2, 4, L)
    y, wanted = apply(given, backend), oracle(*exact)
    found = {"y": (y, wanted)}
    rights = gradients(wanted, exact, cotangent.double())
    for name, gradient in gradients(y, given, cotangent).items():
        found[name] = gradient, rights[name]
    for name, (a, w) in found.items():
        assert a.dtype == torch.float32, name
        assert_close(
            a.double(), w, rtol=0, atol=tolerances.FLOAT32["atol"] * loudness(w), msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_half_precision_is_stored_and_never_computed_in(dtype: torch.dtype, backend: str):
    given = inputs(2, 4, 1000, 1000, 2, dtype).leaves()
    exact = given.to(torch.float64).leaves()
    cotangent = torch.randn(2, 4, 1000).to(dtype)
    y, wanted = apply(given, backend), oracle(*exact)
    rights = gradients(wanted, exact, cotangent.double())
    found = gradients(y, given, cotangent)
    for a, w in [(y, wanted), *((found[name], rights[name]) for name in found)]:
        assert a.dtype == dtype
        assert_close(a.double(), w.detach(), rtol=HALF[dtype]["rtol"], atol=HALF[dtype]["atol"] * loudness(w))


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_counts_past_its_own_integers(backend: str):
    # bfloat16 has no odd integer above 256: a sum kept in it would stop growing there.
    ones = torch.ones(1, 1, 1000, dtype=torch.bfloat16)
    y = long_conv(ones, ones[0], backend=backend)
    assert_close(y[0, 0].float(), torch.arange(1.0, 1001.0), **tolerances.BFLOAT16)


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_signals_meet_float32_filters(backend: str):
    given = inputs(2, 4, 100, 100, 2, torch.float32)
    half = given._replace(u=given.u.bfloat16(), pre=given.pre.bfloat16(), post=given.post.bfloat16()).leaves()
    y = apply(half, backend)
    assert y.dtype == torch.bfloat16
    dtypes = {name: g.dtype for name, g in gradients(y, half, torch.ones_like(y)).items()}
    low, high = torch.bfloat16, torch.float32
    assert dtypes == {"u": low, "h": high, "skip": high, "pre": low, "post": low}
    assert_close(y.double(), oracle(*half.to(torch.float64)), rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_float64_signals_meet_float32_filters_in_float64(backend: str):
    given = inputs(2, 4, 100, 100, 2)
    single = given._replace(h=given.h.float())
    assert_same(apply(single, backend), oracle(*single.to(torch.float64)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_float64_signals_meet_prepared_float32_filters_in_float64_or_not_at_all(backend: str):
    given = inputs(2, 4, 100, 100, 2)
    single = given._replace(h=given.h.float())
    with right_or_refused("float64"):
        y = long_conv(single.u, prepare(single.h, 100, backend=backend), single.skip, **single.gates())
        assert_same(y, oracle(*single.to(torch.float64)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_changes_nothing_inside(backend: str):
    given = inputs(2, 4, 100, 100, 2, torch.float32).leaves()
    cotangent = torch.randn(2, 4, 100)
    y = apply(given, backend)
    with torch.autocast("cpu", torch.bfloat16):
        cast = apply(given, backend)
        again = gradients(cast, given, cotangent)
    plain = gradients(y, given, cotangent)
    assert cast.dtype == torch.float32
    assert torch.equal(cast, y)
    assert all(torch.equal(again[name], plain[name]) for name in plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same():
    for (L, K, G), backend in itertools.product(SHAPES, [*BACKENDS, "auto"]):
        given, y, cotangent, wanted = expected(L, TAPS[K](L), G)
        there = Inputs(*(t.detach().cuda() for t in given if t is not None)).leaves()
        actual = apply(there, backend)
        assert_same(actual.cpu(), y)
        for name, gradient in gradients(actual, there, cotangent.cuda()).items():
            assert_same(gradient.cpu(), wanted[name])


# --- PyTorch's machinery ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_derivative_is_an_error_not_a_wrong_number(backend: str):
    given = inputs(1, 2, 8, 8, 2).leaves()
    first = torch.autograd.grad(apply(given, backend).square().sum(), [given.u, given.h], create_graph=True)
    for gradient in first:
        with pytest.raises(RuntimeError, match="no autograd formula"):
            torch.autograd.grad(gradient.sum(), given.u, retain_graph=True)


COMPILED = """
import torch
from hyena.ops import kernel, long_conv, prepare

u, pre, post = torch.randn(3, 2, 4, 50)
h, skip = torch.randn(2, 50), torch.randn(4)
inputs = [t.requires_grad_() for t in (u, h, skip, pre, post)]
def f(u, h, skip, pre, post):
    return 2 * long_conv(u, h, skip, pre=pre, post=post)
compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
y, z = f(*inputs), compiled(*inputs)
assert torch.equal(y, z)
for a, b in zip(torch.autograd.grad(y.sum(), inputs), torch.autograd.grad(z.sum(), inputs)):
    assert torch.equal(a, b)
with torch.no_grad():
    spectrum = prepare(h, 50)
    g = torch.compile(lambda u: long_conv(u, spectrum), fullgraph=True, backend="aot_eager")
    assert torch.equal(g(u), long_conv(u, spectrum))
print("equal")
"""


def test_one_compiled_graph_gives_the_same():
    assert python(COMPILED) == "equal"


def test_shapes_alone_are_enough_on_the_meta_device():
    u, h = torch.empty(2, 4, 8, device="meta"), torch.empty(2, 3, device="meta")
    y = long_conv(u.bfloat16(), h)
    assert (y.device.type, y.shape, y.dtype) == ("meta", u.shape, torch.bfloat16)


# --- prepare ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_spectrum_says_what_it_holds(backend: str):
    h = torch.randn(2, 5)
    spectrum = prepare(h, 100, backend=backend)
    assert (spectrum.backend, spectrum.length) == (backend, 100)
    assert torch.equal(spectrum.h, h)
    transform = spectrum.taps.spectrum
    assert (transform is None) == (backend in ("direct", "fir"))
    assert spectrum.nbytes == h.nbytes + (0 if transform is None else transform.nbytes)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_copied_spectrum_is_prepared_anew(backend: str, monkeypatch: pytest.MonkeyPatch):
    u, spectrum = torch.randn(1, 4, 70), prepare(torch.randn(2, 70), 70, backend=backend)
    wanted = long_conv(u, spectrum)
    for copied in (copy.deepcopy(spectrum), pickle.loads(pickle.dumps(spectrum))):
        assert (copied.backend, copied.length) == (backend, 70)
        assert torch.equal(long_conv(u, copied), wanted)
    kept = pickle.dumps(spectrum)
    monkeypatch.setattr(kernel, "available", lambda: False)  # another machine
    elsewhere = pickle.loads(kept)
    assert elsewhere.backend not in kernel.KERNELS
    assert_close(long_conv(u, elsewhere), wanted, **tolerances.FLOAT32)


def test_a_spectrum_keeps_half_precision_taps_in_float32():
    assert prepare(torch.randn(2, 5).bfloat16(), 10).h.dtype == torch.float32


def test_under_no_grad_a_parameter_may_be_prepared():
    h = torch.randn(2, 5, requires_grad=True)
    with torch.no_grad():
        assert not prepare(h, 10).h.requires_grad
    with refused("prepare()", "requires a gradient", "torch.no_grad()"):
        prepare(h, 10)


# --- refusals ---------------------------------------------------------------------------------------------------------------

U, H = torch.zeros(2, 4, 8), torch.zeros(2, 3)
REFUSED = {
    "u has 2 axes": (U[0], H, {}, ["u must be (B, D, L)", "(4, 8)"]),
    "h has 3 axes": (U, H[None], {}, ["h (G, K)", "(1, 2, 3)"]),
    "no channel": (U[:, :0], H, {}, ["(2, 0, 8)", "no channel", "drop"]),
    "no token": (U[..., :0], H, {}, ["(2, 4, 0)", "token", "drop"]),
    "no filter": (U, H[:0], {}, ["(0, 3)", "filter", "drop"]),
    "no tap": (U, H[:, :0], {}, ["(2, 0)", "tap", "drop"]),
    "D is no multiple of G": (U[:, :3], H, {}, ["3 channels", "2 groups", "multiple"]),
    "skip of another width": (U, H, {"skip": torch.zeros(3)}, ["skip", "(3,)", "(4,) is needed"]),
    "skip of two axes": (U, H, {"skip": torch.zeros(4, 1)}, ["skip", "(4, 1)", "(4,) is needed"]),
    "pre of another length": (U, H, {"pre": U[..., :7]}, ["pre", "(2, 4, 7)", "(2, 4, 8) is needed"]),
    "post that would broadcast": (U, H, {"post": U[:1]}, ["post", "(1, 4, 8)", "(2, 4, 8) is needed"]),
    "whole numbers": (U.long(), H, {}, ["u is torch.int64", "floating-point"]),
    "complex taps": (U, H.cfloat(), {}, ["h is torch.complex64", "real"]),
    "whole-number gate": (U, H, {"pre": U.int()}, ["pre is torch.int32", "floating-point"]),
    "another device": (U, H.to("meta"), {}, ["h is on meta", "u on cpu", "one device"]),
    "another device for a gate": (U, H, {"post": U.to("meta")}, ["post is on meta", "u on cpu", "one device"]),
    "taps finer than the signal": (U, H.double(), {}, ["h is float64", "torch.float32", "convert"]),
    "skip finer than the signal": (U, H, {"skip": torch.zeros(4).double()}, ["skip is float64", "torch.float32", "convert"]),
    "gate finer than the signal": (U, H, {"pre": U.double()}, ["pre is float64", "torch.float32", "convert"]),
    "unknown backend": (U, H, {"backend": "ftf"}, ["'ftf'", "'auto'", "'direct'", "'fft'", "'blocked'"]),
    "sequence longer than prepared": (U, prepare(H, 7), {}, ["8 tokens", "prepared for 7", "prepare it for 8"]),
    "another backend than prepared": (U, prepare(H, 8, backend="fft"), {"backend": "direct"}, ["'fft'", "'direct'", "prepare"]),
    "prepared for other channels": (U[:, :3], prepare(H, 8), {}, ["3 channels", "2 groups"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_named_with_its_cure(case: str):
    u, h, options, parts = REFUSED[case]
    with refused(*parts):
        long_conv(u, h, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "parts"),
    [
        ((H[0], 8), {}, ["(G, K)", "(3,)"]),
        ((H, 0), {}, ["length of at least 1", "and 0"]),
        ((H[:0], 8), {}, ["(0, 3)"]),
        ((H[:, :0], 8), {}, ["(2, 0)"]),
        ((H.long(), 8), {}, ["torch.int64", "floating-point"]),
        ((H, 8), {"backend": "blokced"}, ["'blokced'", "'auto'", "'blocked'"]),
        ((H, 8), {"channels": 3}, ["3 channels", "2 filters", "multiple"]),
    ],
    ids=[
        "taps of one axis",
        "no length",
        "no filter",
        "no tap",
        "whole numbers",
        "unknown backend",
        "channels that do not fit",
    ],
)
def test_what_cannot_be_prepared_is_named(arguments: tuple, options: dict, parts: list[str]):
    with refused(*parts):
        prepare(*arguments, **options)
