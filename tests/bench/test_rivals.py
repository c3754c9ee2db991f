"""Every rival computes the same function, with the same gradients; what cannot be timed says why."""

import sys

import pytest
import torch

from hyena.bench.rivals import (
    OURS,
    RIVALS,
    Operands,
    Rival,
    Shape,
    backend_of,
    computation,
    operands,
    sampler_of,
    scipy_fft,
    with_backend,
)
from hyena.errors import HyenaError
from hyena.ops import long_conv, plan, prepare
from tests.helpers import refused

SHAPES = {
    "square": Shape.square(1, 64, 100),
    "batch and groups": Shape(2, 64, 33, 33, 16),
    "half the taps": Shape(1, 64, 64, 32, 64),
    "more taps than tokens": Shape(1, 64, 20, 30, 8),
}
CONVOLUTIONS = [name for name in RIVALS if name != "sdpa"]


def rival(name: str) -> Rival:
    """A rival whose package is there."""
    if name.startswith("scipy"):
        pytest.importorskip("scipy")
    return RIVALS[name]


def exact(o: Operands) -> torch.Tensor:
    """The definition in float64."""
    o = Operands(*(t.double() for t in o))
    return long_conv(o.u, o.h, o.skip, pre=o.pre, post=o.post, backend="direct")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_all_compute_the_same(name: str, shape: str):
    o = operands(SHAPES[shape])
    y = rival(name).prepare(o).forward()
    torch.testing.assert_close(y.double(), exact(o), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if RIVALS[name].gradient])
def test_all_have_the_same_gradient(name: str, shape: str):
    work = RIVALS[name].prepare(o := operands(SHAPES[shape], gradient=True))
    assert [leaf.shape for leaf in work.leaves] == [t.shape for t in o]
    torch.manual_seed(1)
    found = computation(work, gradient=True)()
    torch.manual_seed(1)
    gy = torch.randn_like(o.u)
    expected = torch.autograd.grad(exact(o), list(o), gy.double())
    for mine, definition in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, definition, rtol=1e-3, atol=1e-3)


def test_attention_sees_the_past_alone():
    o = operands(Shape.square(2, 128, 10))
    work = RIVALS["sdpa"].prepare(o)
    y = work.forward()
    assert y.shape == (2, 2, 10, 64)
    torch.testing.assert_close(y[0, 1, 0], o.u[0, 64:, 0])
    with_gradient = RIVALS["sdpa"].prepare(operands(Shape.square(1, 64, 10), gradient=True))
    assert all(gradient.shape == (1, 1, 10, 64) for gradient in computation(with_gradient, gradient=True)())


def test_without_a_gradient_nothing_is_recorded():
    work = RIVALS["torch"].prepare(operands(Shape.square(1, 4, 8), gradient=True))
    assert not computation(work, gradient=False)().requires_grad


def test_ours_say_which_backend_runs():
    shape = Shape.square(1, 8, 2000)
    o = operands(shape)
    by_plan = plan(1, 8, 2000, 2000, 8, gated=True, threads=torch.get_num_threads()).backend
    assert RIVALS["hyena"].prepare(o).backend == backend_of(o) == by_plan
    assert RIVALS["hyena-prepared"].prepare(o).backend == prepare(o.h, 2000, channels=8).backend
    few = operands(Shape(1, 8, 2000, 3, 8))
    assert with_backend(few, "fft").backend == "fft"
    torch.testing.assert_close(with_backend(few, "fft").forward(), with_backend(few, "direct").forward(), rtol=1e-4, atol=1e-5)
    assert RIVALS["torch"].prepare(few).backend is None


def test_what_takes_its_own_time_is_asked_for_it():
    work = RIVALS["hyena"].prepare(operands(Shape.square(1, 2, 4)))
    assert sampler_of(work._replace(sample=lambda calls: 7.0 * calls), gradient=False)(3) == 21
    assert sampler_of(work, gradient=False)(1) > 0


def test_operands_are_the_same_each_time_and_may_be_transposed():
    shape = Shape(2, 6, 10, 5, 3)
    for one, two in zip(operands(shape), operands(shape), strict=True):
        assert torch.equal(one, two)
    o = operands(shape, transposed=True)
    assert [tuple(t.shape) for t in o] == [(2, 6, 10), (3, 5), (6,), (2, 6, 10), (2, 6, 10)]
    assert o.u.stride() == (60, 1, 6)
    torch.testing.assert_close(o.h.norm(dim=-1), torch.ones(3))


@pytest.mark.parametrize(
    ("name", "shape", "gradient", "free", "part"),
    [
        ("torch", Shape.square(1, 64, 1024), False, None, None),
        ("torch", Shape.square(1, 64, 1024), False, 10**9, None),
        ("torch", Shape.square(1, 64, 2**20), False, 10**9, "GiB"),
        ("scipy", Shape.square(1, 64, 8), True, None, "gradient"),
        ("sdpa", Shape.square(1, 16, 8), False, None, "64"),
        ("sdpa", Shape.square(1, 128, 8), True, None, None),
    ],
)
def test_what_cannot_be_timed(name: str, shape: Shape, gradient: bool, free: int | None, part: str | None):
    reason = RIVALS[name].obstacle(shape, gradient, free)
    assert reason is None if part is None else part in str(reason)


def test_every_rival_stands_against_one_of_ours():
    assert tuple(RIVALS)[:2] == OURS
    for name, each in RIVALS.items():
        assert each.name == name
        assert each.against in OURS
    with pytest.raises(HyenaError):
        with_backend(operands(Shape.square(1, 2, 4)), "magic").forward()


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "scipy.fft", None)
    with refused("scipy", "hyena[bench]"):
        scipy_fft()
