"""The compiled kernel against the definition: every length of a transform, layout, number of threads; NaN; sizes."""

import ctypes
import itertools
import mmap
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor

from hyena.ops import hyena_conv, kernel, long_conv, native, prepare
from hyena.ops.native import calls
from hyena.ops.spectrum import Spectrum
from tests import tolerances
from tests.helpers import refused
from tests.ops.oracle import KERNEL, Inputs, Whole, by_fft, fused, gradients, inputs, off, oracle, whole

pytestmark = KERNEL
DTYPES = [torch.float64, torch.float32]
Threads = Callable[[int], AbstractContextManager[None]]


def apply(given: Inputs, backend: str) -> Tensor:
    """`long_conv` of inputs."""
    return long_conv(given.u, given.h, given.skip, **given.gates(), backend=backend)


def in_transforms_of(N: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transforms have N points whatever the shape: longer sequences are worked in blocks."""
    monkeypatch.setattr(kernel, "points", lambda *_, **__: N)


def errors(given: Inputs, backend: str, cotangent: Tensor | None = None) -> dict[str, float]:
    """Relative errors of the output and of all gradients, against float64."""
    given, exact = given.leaves(), given.to(torch.float64).leaves()
    wanted = (oracle if given.h.shape[1] <= 64 else by_fft)(*exact)
    cotangent = torch.randn(given.u.shape, dtype=torch.float64).to(given.u.dtype) if cotangent is None else cotangent
    y = apply(given, backend)
    assert y.dtype == given.u.dtype
    rights = gradients(wanted, exact, cotangent.double())
    found = gradients(y, given, cotangent)
    # The root of the number of terms is the size of a sum of random ones.
    (B, D, L), G = given.u.shape, len(given.h)
    sizes = {"h": (B * L * D // G) ** 0.5, "skip": (B * L) ** 0.5}
    return {"y": off(y, wanted)} | {name: off(found[name], rights[name], sizes.get(name, 1.0)) for name in found}


def assert_right(given: Inputs, backend: str, where: object = "", cotangent: Tensor | None = None) -> None:
    """All errors are rounding errors."""
    dtype = str(given.u.dtype).removeprefix("torch.")
    found = errors(given, backend, cotangent)
    for name, error in found.items():
        bounds = tolerances.KERNEL_SUMS if name in ("h", "skip") else tolerances.KERNEL
        assert error <= bounds[dtype], (where, name, found)


def test_the_fft_of_these_tests_is_the_definition():
    for L, K in ((1, 1), (9, 4), (50, 50), (30, 41)):
        given = inputs(2, 4, L, K, 2)
        assert off(by_fft(*given), oracle(*given)) < 1e-15


# --- is it right? -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("odd", [1, 3, 5], ids="radix {}".format)
def test_every_length_of_a_transform_is_right_whole_and_in_blocks(
    monkeypatch: pytest.MonkeyPatch, odd: int, dtype: torch.dtype
):
    lengths = sorted({calls.good_length(odd << bits, dtype) for bits in range(18) if odd << bits <= 2**17 // odd})
    assert lengths[0] <= 256  # registers of 64 bytes have the longest of the shortest transforms
    assert len(lengths) >= 8
    for N in lengths:
        in_transforms_of(N, monkeypatch)
        assert_right(inputs(1, 2, N, N, 1, dtype), "native", N)
        assert_right(inputs(1, 1, max(1, N - 3), max(1, N - 5), 1, dtype), "native", N)
        # Three blocks, the last one not full, and a filter that reaches over a whole one.
        assert_right(inputs(1, 1, 2 * N + N // 2 + 1, N, 1, dtype), "native", N)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_short_sequence_is_right(dtype: torch.dtype):
    for L in (*range(1, 22), 31, 32, 33, 47, 48, 49, 63, 64, 65):
        for K in {1, (L + 1) // 2, L}:
            for backend in kernel.KERNELS:
                assert_right(inputs(1, 2, L, K, 1, dtype), backend, (L, K))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("L", "K", "backend"),
    [
        (65_536, 65_536, "native"),
        (50_000, 50_000, "native"),
        (65_536, 2_048, "native"),
        (20_000, 300, "native"),
        (65_536, 40, "fir"),
    ],
)
def test_long_sequences_keep_their_precision(L: int, K: int, backend: str, dtype: torch.dtype):
    assert_right(inputs(1, 2, L, K, 2, dtype), backend)


# Channels that are neighbours in memory are worked 16 (in long sequences 8) at a time: these groups lie within such a block,
# across two and over several; 5 and 8 channels do not fill one.
WIDTHS = [(1, 1), (5, 5), (8, 2), (24, 24), (24, 12), (24, 8), (24, 3), (40, 40), (40, 20), (40, 2), (40, 1), (48, 3)]
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels first": lambda t: t.contiguous(),
    "channels last": lambda t: t.mT.contiguous().mT,
    "batch inside": lambda t: t.transpose(0, 1).contiguous().transpose(0, 1),
    "every second": lambda t: t.repeat_interleave(2, dim=-1)[..., ::2],
    "unaligned": lambda t: unaligned(t),
}


def unaligned(t: Tensor) -> Tensor:
    """The same numbers, one element past an aligned address."""
    return t.new_empty(t.numel() + 1)[1:].view(t.shape).copy_(t)


@pytest.mark.parametrize("backend", kernel.KERNELS)
@pytest.mark.parametrize(("D", "G"), WIDTHS)
def test_groups_may_cross_the_blocks_of_channels(D: int, G: int, backend: str):
    last = LAYOUTS["channels last"]
    for dtype, L in ((torch.float64, 37), (torch.float32, 70)):
        given = inputs(2, D, L, 9, G, dtype)
        given = given._replace(u=last(given.u), pre=last(given.pre), post=last(given.post))
        assert_right(given, backend, dtype, last(torch.randn(2, D, L, dtype=dtype)))


@pytest.mark.parametrize("backend", kernel.KERNELS)
@pytest.mark.parametrize(("u", "gate"), list(itertools.product(LAYOUTS, repeat=2)))
def test_any_layouts_may_meet(u: str, gate: str, backend: str):
    given = inputs(3, 20, 45, 45, 10, torch.float32)
    laid = given._replace(u=LAYOUTS[u](given.u), pre=LAYOUTS[gate](given.pre), h=unaligned(given.h), skip=unaligned(given.skip))
    assert_right(laid, backend, cotangent=LAYOUTS[gate](torch.randn(3, 20, 45)))
    assert torch.equal(apply(laid, backend), apply(given, backend))


def test_a_long_sequence_of_neighbouring_channels_is_right():
    # Past 16,384 tokens fewer channels are worked side by side.
    given = inputs(1, 12, 16_400, 1_000, 4, torch.float32)
    last = LAYOUTS["channels last"]
    assert_right(given._replace(u=last(given.u), pre=last(given.pre), post=last(given.post)), "native")


@pytest.mark.parametrize("backend", kernel.KERNELS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_the_rounded_result_of_float32(dtype: torch.dtype, backend: str):
    given = inputs(2, 20, 45, 45, 10, dtype)
    wanted = apply(given.to(torch.float32), backend)
    for layout in LAYOUTS.values():
        laid = given._replace(u=layout(given.u), pre=layout(given.pre), post=layout(given.post), h=layout(given.h[None])[0])
        assert torch.equal(apply(laid, backend), wanted.to(dtype))


@pytest.mark.parametrize("backend", kernel.KERNELS)
def test_a_signal_may_meet_itself(backend: str):
    u, h = torch.randn(2, 4, 50, dtype=torch.float64, requires_grad=True), torch.randn(2, 50, dtype=torch.float64)
    y, wanted = long_conv(u, h, pre=u, post=u, backend=backend), oracle(u, h, pre=u, post=u)
    cotangent = torch.randn_like(u)
    found, right = (torch.autograd.grad(t, u, cotangent)[0] for t in (y, wanted))
    assert off(y, wanted) <= tolerances.KERNEL["float64"]
    assert off(found, right) <= tolerances.KERNEL["float64"]


# --- finite differences -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["native", "native in blocks", "fir"])
def test_gradients_by_finite_differences(case: str, monkeypatch: pytest.MonkeyPatch, called: Counter[str]):
    backend, L, K = case.split()[0], 9, 5
    if "blocks" in case:
        N = calls.good_length(1, torch.float64)
        in_transforms_of(N, monkeypatch)
        L = 2 * N + 1
    given = inputs(1, 2, L, K, 1).leaves()
    assert torch.autograd.gradcheck(lambda *t: apply(Inputs(*t), backend), tuple(given), fast_mode="blocks" in case)
    assert called["forward"] > 2
    assert called["backward"] > 2


@pytest.mark.parametrize("backend", kernel.KERNELS)
def test_gradients_of_the_short_convolutions_by_finite_differences(backend: str, called: Counter[str]):
    leaves = whole(1, 2, 9, 9, 1).leaves()
    assert torch.autograd.gradcheck(lambda *t: fused(Whole(*t), backend), tuple(leaves))
    assert called["forward"] > 2
    assert called["backward"] > 2


# --- threads ----------------------------------------------------------------------------------------------------------------

# (B, D, L, K, G): fewer filters than threads, so that their rows are cut into parts; one row; more filters than threads.
SHARED = {
    "one filter, many rows": (9, 4, 200, 200, 1),
    "two filters, few rows": (1, 4, 200, 30, 2),
    "one row": (1, 1, 300, 300, 1),
    "many filters": (2, 24, 100, 100, 24),
}


@pytest.mark.parametrize("backend", kernel.KERNELS)
@pytest.mark.parametrize("layout", ["channels first", "channels last"])
@pytest.mark.parametrize("case", SHARED)
def test_threads_change_no_result(case: str, layout: str, backend: str, threads: Threads):
    given = inputs(*SHARED[case], torch.float32)
    given = given._replace(u=LAYOUTS[layout](given.u), post=LAYOUTS[layout](given.post)).leaves()
    cotangent = torch.randn_like(given.u)

    def results() -> dict[str, Tensor]:
        y = apply(given, backend)
        return {"y": y} | gradients(y, given, cotangent)

    alone = results()
    for n in (2, 3, 7):
        with threads(n):
            first, *others = (results() for _ in range(4))
        for name, t in first.items():
            assert off(t, alone[name].double()) < tolerances.KERNEL["float32"], (n, name)
            if name not in ("h", "skip"):  # sums over rows are formed in parts; all else is one row's own
                assert torch.equal(t, alone[name]), (n, name)
            assert all(torch.equal(t, other[name]) for other in others), (n, name)


@pytest.mark.parametrize("backend", kernel.KERNELS)
def test_the_short_convolutions_are_repeatable_with_threads(backend: str, threads: Threads):
    leaves = whole(5, 4, 90, 90, 1, dtype=torch.float32).leaves()

    def results() -> list[Tensor]:
        y = fused(leaves, backend)
        return [y, *torch.autograd.grad(y, leaves, torch.ones_like(y))]

    alone = results()
    with threads(3):
        first, *others = (results() for _ in range(4))
    for i, t in enumerate(first):
        assert off(t, alone[i].double()) < tolerances.KERNEL["float32"]
        assert all(torch.equal(t, other[i]) for other in others)


def test_the_kernel_follows_the_number_of_threads(monkeypatch: pytest.MonkeyPatch, threads: Threads):
    seen = []
    conv = calls._conv
    monkeypatch.setattr(calls, "_conv", lambda *args: seen.append(conv(*args)) or seen[-1])
    given = inputs(1, 2, 30, 30, 1)
    for n in (1, 3, 2):
        with threads(n):
            apply(given, "native")
    assert [c.threads for c in seen] == [1, 3, 2]


# --- memory that was used before --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3], ids="{} threads".format)
def test_what_an_earlier_call_left_in_memory_does_not_matter(n: int, monkeypatch: pytest.MonkeyPatch, threads: Threads):
    last = LAYOUTS["channels last"]
    cases: list[tuple[str, int, Inputs]] = []
    for backend, K, N in (("native", 9_000, 16_384), ("native", 500, 1_024), ("fir", 20, 0)):
        given = inputs(2, 2, 9_000, K, 1, torch.float32)
        cases += [(backend, N, given), (backend, N, given._replace(u=last(given.u), post=last(given.post)))]

    def run(backend: str, N: int, given: Inputs) -> list[Tensor]:
        in_transforms_of(calls.good_length(N, torch.float32), monkeypatch)
        given = given.leaves()
        y = apply(given, backend)
        streams = torch.cat([given.u, given.pre, given.post], dim=1)
        leaves = Whole(streams, torch.ones(6, 3), torch.ones(6), torch.ones(6), given.h, given.skip).leaves()
        z = fused(leaves, backend)
        with torch.no_grad():
            spectrum = prepare(given.h, 9_000, backend=backend)
        assert spectrum.taps.n == (calls.good_length(N, torch.float32) if N else 0)
        prepared = long_conv(given.u.detach(), spectrum, given.skip.detach())
        found = [gradients(t, leaf, torch.ones_like(t)).values() for t, leaf in ((y, given), (z, leaves))]
        return [y, z, prepared, *found[0], *found[1]]

    with threads(n):
        before = [t for case in cases for t in run(*case)]
        for backend, N, given in cases:
            run(backend, N, Inputs(*(torch.full_like(t, torch.nan) for t in given)))
            after = [t for case in cases for t in run(*case)]
            assert all(map(torch.equal, before, after))


# --- NaN and infinity -------------------------------------------------------------------------------------------------------


def spoiled(t: Tensor) -> list[list[int]]:
    """The indices of what is not finite."""
    return (~t.isfinite()).nonzero().tolist()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["channels first", "channels last"])
def test_one_bad_number_spoils_all_of_its_row_and_no_other(layout: str, dtype: torch.dtype, value: float):
    for at in (0, 17, 99):
        given = inputs(2, 16, 100, 100, 8, dtype)
        given = given._replace(u=LAYOUTS[layout](given.u))
        clean = apply(given, "native")
        given.u[1, 5, at] = value
        y = apply(given, "native")
        assert y[1, 5].isnan().all()
        y[1, 5] = clean[1, 5]
        assert torch.equal(y, clean)


@pytest.mark.parametrize("backend", ["fir", "direct"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_tap_by_tap_a_bad_number_spoils_what_the_filter_reaches(value: float, backend: str):
    for at in (0, 17, 97):
        given = inputs(2, 4, 100, 6, 2)
        clean = apply(given, backend)
        given.u[1, 2, at] = value
        y = apply(given, backend)
        assert spoiled(y) == [[1, 2, t] for t in range(at, min(at + 6, 100))]
        y[1, 2, at : at + 6] = clean[1, 2, at : at + 6]
        assert torch.equal(y, clean)


def test_in_blocks_a_bad_number_spoils_its_block_and_the_next(monkeypatch: pytest.MonkeyPatch):
    N = calls.good_length(1, torch.float64)
    in_transforms_of(N, monkeypatch)
    L = 4 * N + N // 2
    given = inputs(1, 2, L, N // 2, 2)
    clean = apply(given, "native")
    for block in range(5):
        at = min(block * N + N - 1, L - 1)
        u = given.u.clone()
        u[0, 1, at] = torch.nan
        y = apply(given._replace(u=u), "native")
        # Also before the bad number itself, in its own block; also where the filter no longer reaches, in the next.
        reached = slice(block * N, (block + 2) * N)
        assert y[0, 1, reached].isnan().all()
        y[0, 1, reached] = clean[0, 1, reached]
        assert torch.equal(y, clean)


def test_in_blocks_a_bad_gradient_spoils_its_block_and_the_one_before(monkeypatch: pytest.MonkeyPatch):
    N = calls.good_length(1, torch.float64)
    in_transforms_of(N, monkeypatch)
    given = inputs(1, 2, 4 * N, N // 2, 2).leaves()
    cotangent = torch.randn_like(given.u)
    clean = gradients(apply(given, "native"), given, cotangent)
    cotangent[0, 1, 2 * N + 1] = torch.nan
    found = gradients(apply(given, "native"), given, cotangent)
    for name in ("u", "pre"):
        assert found[name][0, 1, N : 3 * N].isnan().all()
        found[name][0, 1, N : 3 * N] = clean[name][0, 1, N : 3 * N]
    assert spoiled(found["post"]) == [[0, 1, 2 * N + 1]]
    found["post"][0, 1, 2 * N + 1] = clean["post"][0, 1, 2 * N + 1]
    assert found["skip"].isnan().tolist() == [False, True]
    assert found["h"].isnan().tolist() == [[False] * (N // 2), [True] * (N // 2)]
    for name in ("skip", "h"):
        found[name][1] = clean[name][1]
    assert all(torch.equal(found[name], clean[name]) for name in found)


@pytest.mark.parametrize("backend", kernel.KERNELS)
def test_a_bad_tap_spoils_the_channels_of_its_group(backend: str):
    given = inputs(2, 6, 50, 10, 3)
    clean = apply(given, backend)
    given.h[1, 4] = torch.nan
    y = apply(given, backend)
    assert y[:, 2:4].isnan().all()  # tap by tap too: it meets the zeros before the sequence
    y[:, 2:4] = clean[:, 2:4]
    assert torch.equal(y, clean)


@pytest.mark.parametrize("backend", kernel.KERNELS)
def test_the_gradients_that_a_bad_number_spoils(backend: str):
    given = inputs(2, 6, 50, 50, 3)
    cotangent = torch.randn_like(given.u)
    leaves = given.leaves()
    clean = gradients(apply(leaves, backend), leaves, cotangent)
    given.u[1, 3, 20] = torch.nan
    leaves = given.leaves()
    found = gradients(apply(leaves, backend), leaves, cotangent)
    assert torch.equal(found["u"], clean["u"])  # linear in u
    assert spoiled(found["pre"]) == [[1, 3, 20]]
    late = range(0 if backend == "native" else 20, 50)
    assert spoiled(found["post"]) == [[1, 3, t] for t in late]
    assert found["skip"].isnan().tolist() == [d == 3 for d in range(6)]
    assert found["h"][1].isnan().any()
    assert torch.equal(found["h"][::2], clean["h"][::2])
    if backend == "native":
        assert found["h"][1].isnan().all()


@pytest.mark.parametrize("backend", kernel.KERNELS)
def test_a_bad_gate_or_skip_spoils_its_own_numbers(backend: str):
    given = inputs(1, 3, 40, 40, 3)
    clean = apply(given, backend)
    given.post[0, 1, 7], given.skip[2] = torch.nan, torch.nan
    y = apply(given, backend)
    assert spoiled(y) == [[0, 1, 7], *([0, 2, t] for t in range(40))]
    assert torch.equal(y[0, 0], clean[0, 0])


# --- fences -----------------------------------------------------------------------------------------------------------------


def fenced(t: Tensor, at_the_end: bool) -> Tensor:
    """The same numbers right before (or after) memory that ends the process where it is read."""
    page = mmap.PAGESIZE
    layout = sorted(range(t.ndim), key=t.stride, reverse=True)  # the order of the axes in memory is kept
    inner = t.permute(layout)
    if not inner.numel():
        return t
    size = inner.numel() * t.element_size()
    room = -(-size // page) * page
    whole = mmap.mmap(-1, room + 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(whole))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for fence in (start, start + page + room):
        assert protect(ctypes.c_void_p(fence), ctypes.c_size_t(page), 0) == 0
    offset = page + (room - size if at_the_end else 0)
    there = torch.frombuffer(whole, dtype=t.dtype, count=inner.numel(), offset=offset).view(inner.shape).copy_(inner)
    return there.permute([layout.index(axis) for axis in range(t.ndim)])


@pytest.mark.skipif(sys.platform != "linux", reason="memory is protected in another way here")
@pytest.mark.parametrize("at_the_end", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("backend", kernel.KERNELS)
@pytest.mark.parametrize("layout", ["channels first", "channels last"])
def test_nothing_beside_inputs_and_results_is_touched(
    layout: str, backend: str, at_the_end: bool, monkeypatch: pytest.MonkeyPatch
):
    # Of what is read too far nothing shows in the results; here it would be a crash.
    for name in ("empty_like", "zeros"):  # where results go
        make = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *args, make=make, **options: fenced(make(*args, **options), at_the_end))
    for dtype, (B, D, L, K, G) in itertools.product(
        (torch.float32, torch.float64, torch.bfloat16),
        [(1, 1, 1, 1, 1), (2, 24, 37, 37, 24), (1, 20, 70, 9, 10), (2, 3, 5, 5, 1), (1, 40, 129, 20, 40), (1, 2, 700, 30, 2)],
    ):
        given = Inputs(*(LAYOUTS[layout](t) if t.ndim == 3 else t for t in inputs(B, D, L, K, G, dtype)))
        cotangent = LAYOUTS[layout](torch.randn(B, D, L).to(dtype))
        there = Inputs(*(fenced(t, at_the_end) for t in given)).leaves()
        y = apply(there, backend)
        assert torch.equal(y, apply(given, backend))
        gradients(y, there, fenced(cotangent, at_the_end))
        streams = whole(B, D, L, K, G, dtype=dtype)
        there = Whole(*(fenced(t, at_the_end) for t in streams)).leaves()
        z = fused(there, backend)
        assert torch.equal(z, fused(streams, backend))
        gradients(z, there, fenced(cotangent, at_the_end))


# --- sizes ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", kernel.KERNELS)
def test_the_smallest_sizes(backend: str):
    for B, D, L, K in itertools.product((1, 2), (1, 2), (1, 2), (1, 2, 3)):
        for dtype in DTYPES:
            assert_right(inputs(B, D, L, K, D, dtype), backend, (B, D, L, K))
    u, h = torch.ones(0, 2, 5, requires_grad=True), torch.ones(1, 5, requires_grad=True)
    y = long_conv(u, h, backend=backend)
    assert y.shape == (0, 2, 5)
    y.sum().backward()
    assert h.grad is not None
    assert not h.grad.any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_prepared_spectrum_may_lie_anywhere(dtype: torch.dtype):
    given = inputs(2, 4, 100, 100, 2, dtype)
    made = prepare(given.h, 100, backend="native")
    wanted, t = long_conv(given.u, made), made.taps.spectrum
    # The kernel reads whole registers of it: at such an address it would end the process.
    for moved in (unaligned(t), t.mT.contiguous().mT):
        y = long_conv(given.u, Spectrum(made.taps._replace(spectrum=moved), 100, "native"))
        assert torch.equal(y, wanted)


LONG = calls.LONGEST + 1


@pytest.mark.parametrize("backend", kernel.KERNELS)
@pytest.mark.parametrize("L", [LONG, 2**31, 2**40], ids="{} tokens".format)
def test_an_absurd_length_is_refused_before_anything_is_allocated(L: int, backend: str, monkeypatch: pytest.MonkeyPatch):
    one = torch.zeros(())
    for where, name in ((torch, "empty_like"), (torch.Tensor, "new_empty"), (torch, "empty"), (torch, "zeros")):
        monkeypatch.setattr(where, name, lambda *_, **__: pytest.fail("it allocates"))
    for u, h in ((one.expand(1, 1, L), one.expand(1, 4)), (one.expand(1, 1, L), one.expand(1, L))):
        with refused(L, calls.LONGEST):
            long_conv(u, h, backend=backend)
        with refused(L, calls.LONGEST):
            hyena_conv(u.expand(1, 3, L), one.expand(3, 2), one.expand(3), h, backend=backend)


def test_an_absurd_filter_is_not_prepared():
    one = torch.zeros(())
    with refused(LONG, calls.LONGEST):
        prepare(one.expand(1, LONG), LONG, backend="native")
    # Few taps serve any length: they are worked in blocks.
    spectrum = prepare(torch.ones(1, 4), LONG, backend="native")
    assert isinstance(spectrum, Spectrum)
    assert spectrum.nbytes < 10**6


def test_there_is_a_kernel_behind_these_tests(called: Counter[str]):
    apply(inputs(1, 1, 8, 8, 1), "native")
    assert called == {"forward": 1}
    assert native.status().isa in native.LEVELS
