"""`plan` as a table: shape and costs in, backend and reason out."""

import functools

import pytest
import torch

from hyena.ops import Costs
from hyena.ops import plan as plan_anywhere
from hyena.ops.costs import CPU
from hyena.ops.plan import conv_flops, transform_points
from tests.helpers import refused

plan = functools.partial(plan_anywhere, kernel=False)
FREE = {"direct_call": 0.0, "direct_call_grad": 0.0, "fft_call_grad": 0.0, "direct": 0.0, "direct_grad": 0.0, "fft_call": 0.0}
COSTS = Costs(
    direct_tap=1.0, direct_tap_grad=3.0, fft=((1, 20.0), (21, 420.0)), fft_grad=((1, 60.0), (21, 1260.0)), block=1000.0, **FREE
)
TABLE = {
    # (B, D, L, K, G), needs_grad -> backend
    "one token": ((1, 1, 1, 1, 1), False, "direct"),
    "three taps": ((2, 64, 4096, 3, 64), False, "direct"),
    "three taps, training": ((2, 64, 4096, 3, 64), True, "direct"),
    "short sequence, whole filter": ((2, 64, 64, 64, 64), False, "direct"),
    "long sequence, whole filter": ((2, 64, 4096, 4096, 64), False, "fft"),
    "long sequence, whole filter, training": ((2, 64, 4096, 4096, 64), True, "fft"),
    "very long sequence, shorter filter": ((1, 16, 2**18, 1024, 16), False, "blocked"),
    "many filters for few channels are no worse": ((4, 8, 8192, 8192, 8), False, "fft"),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_table(case: str):
    (B, D, L, K, G), needs_grad, backend = TABLE[case]
    assert plan(B, D, L, K, G, needs_grad=needs_grad, costs=COSTS).backend == backend


@pytest.mark.parametrize(
    ("free", "backend"),
    [
        ({"direct_call": 0.0, "direct": 0.0, "direct_tap": 0.0}, "direct"),
        ({"fft": ((1, 0.0),), "fft_call": 0.0, "block": 1.0}, "fft"),
        ({"direct_tap": 100.0, "fft": ((6, 1.0), (20, 9.0)), "block": 0.0}, "blocked"),
    ],
    ids=["taps", "transforms", "blocks"],
)
def test_what_costs_nothing_is_chosen(free: dict[str, float], backend: str):
    assert plan(1, 16, 2**18, 1024, 16, costs=Costs(**free)).backend == backend


def test_gradients_have_a_cost_of_their_own():
    dear = Costs(**FREE | {"direct_tap": 0.0, "direct_tap_grad": 1e9})
    backends = [plan(1, 4, 100, 100, 4, needs_grad=needs_grad, costs=dear).backend for needs_grad in (False, True)]
    assert backends == ["direct", "fft"]


@pytest.mark.parametrize("needs_grad", [False, True])
@pytest.mark.parametrize("L", [1, 64, 5000])
def test_taps_past_the_sequence_do_not_count(L: int, needs_grad: bool):
    assert plan(2, 64, L, 10**6, 64, needs_grad=needs_grad) == plan(2, 64, L, L, 64, needs_grad=needs_grad)


def test_one_block_is_no_plan_of_its_own():
    assert "blocked" not in plan(1, 4, 64, 64, 4, costs=COSTS).reason


def test_the_reason_names_the_figures_of_all_backends():
    chosen = plan(1, 16, 2**18, 1024, 16, costs=COSTS)
    assert chosen.backend == "blocked"
    assert "predicted" in chosen.reason
    assert "direct" in chosen.reason
    assert "fft" in chosen.reason
    assert chosen.reason.count(" ms") == 3


def test_the_plan_depends_on_its_arguments_alone():
    shapes = [(1, 4, 100, 100, 4), (2, 64, 4096, 4096, 64), (1, 16, 2**18, 1024, 16)]
    before = [plan(*shape) for shape in shapes]
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    try:
        torch.set_num_threads(threads + 1)
        torch.set_default_dtype(torch.float64)
        with torch.no_grad():
            assert [plan(*shape) for shape in shapes] == before
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
    assert [plan(*shape, costs=CPU) for shape in shapes] == before
    assert Costs() == CPU


def test_the_measured_table_takes_transforms_for_long_filters_only():
    assert plan(1, 64, 16, 16, 64).backend == "direct"
    assert plan(1, 64, 8192, 8192, 64).backend == "fft"
    assert plan(1, 768, 2**20, 128, 768, needs_grad=True).backend == "blocked"


def test_channels_that_cannot_share_filters_are_refused():
    with refused("4 channels", "3 filters", "multiple"):
        plan(1, 4, 8, 8, 3)


@pytest.mark.parametrize("shape", [(0, 4, 8, 8, 4), (1, 0, 8, 8, 4), (1, 4, 0, 8, 4), (1, 4, 8, 0, 4), (1, 4, 8, 8, 0)])
def test_empty_shapes_are_refused(shape: tuple[int, ...]):
    with refused("B, D, L, K, G", str(shape)[1:-1], "at least 1"):
        plan(*shape)


def test_points_of_the_transforms():
    # Two transforms of each of 2 * 6 signals of 8 points (24 = 8 log2 8 each), and one of each of 3 filters.
    assert transform_points(2, 6, 3, 8, 2) == (2 * 2 * 6 + 3) * 24


def test_operations_of_the_convolution():
    # L = 4, K = 4: 8 points. (2 B D + G) transforms of 2.5 n log2 n, and B D products of n / 2 complex numbers, 6 each.
    assert conv_flops(3, 2, 4, 4, 2) == int((2 * 3 * 2 + 2) * 2.5 * 24) + 3 * 2 * 4 * 6
    assert conv_flops(3, 2, 4, 100, 2) == conv_flops(3, 2, 4, 4, 2)


KERNEL_TABLE = {
    # (B, D, L, K, G), needs_grad -> backend
    "one token": ((1, 1, 1, 1, 1), False, "fir"),
    "three taps": ((2, 64, 4096, 3, 64), False, "fir"),
    "three taps, training": ((2, 64, 4096, 3, 64), True, "fir"),
    "a long filter": ((2, 64, 4096, 4096, 64), False, "native"),
    "a long filter, training": ((2, 64, 4096, 4096, 64), True, "native"),
    "a medium filter for a long sequence": ((1, 16, 2**18, 1024, 16), False, "native"),
}


@pytest.mark.parametrize("case", KERNEL_TABLE)
def test_the_table_with_a_kernel(case: str):
    (B, D, L, K, G), needs_grad, backend = KERNEL_TABLE[case]
    chosen = plan_anywhere(B, D, L, K, G, needs_grad=needs_grad, kernel=True, costs=CPU)
    assert chosen.backend == backend
    assert chosen.reason.count(" ms") >= 4


def test_another_device_has_no_kernel():
    assert plan_anywhere(2, 64, 4096, 4096, 64, device="cuda", kernel=True).backend == "fft"


def test_a_dear_kernel_is_not_used():
    dear = Costs(kernel_call=1e12)
    assert plan_anywhere(2, 64, 4096, 4096, 64, kernel=True, costs=dear) == plan(2, 64, 4096, 4096, 64, costs=dear)._replace(
        reason=plan_anywhere(2, 64, 4096, 4096, 64, kernel=True, costs=dear).reason
    )


@pytest.mark.parametrize("K", [1, 16, 4096])
def test_threads_divide_the_work_and_not_the_call(K: int):
    reasons = [plan_anywhere(8, 64, 4096, K, 64, kernel=True, threads=threads, costs=CPU).reason for threads in (1, 2)]
    one, two = (float(reason.split()[1]) for reason in reasons)
    call = CPU.kernel_call / 1e6
    assert (two - call) * 2 == pytest.approx(one - call, rel=0.02)
    assert "2 cores" in reasons[1]
