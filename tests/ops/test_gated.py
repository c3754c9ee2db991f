"""The operator around the backends: chunks of channels, and its registration with PyTorch."""

import pytest
import torch
from torch.testing import assert_close

from hyena.ops import gated, long_conv, prepare
from hyena.ops.filters import Taps
from tests import tolerances
from tests.ops.oracle import BACKENDS, gradients, inputs, oracle

B, D, L = 2, 12, 40


def chunks(G: int) -> list[tuple[slice, slice]]:
    """The chunks of D channels in G groups."""
    return list(gated._chunks(torch.zeros(B, D, L), Taps(torch.zeros(G, 5))))


@pytest.mark.parametrize("points", [1, 2 * B * L, 3 * B * L, 5 * B * L, 8 * B * L], ids="{} points".format)
@pytest.mark.parametrize("G", [1, 2, 3, 4, 12], ids="G={}".format)
def test_chunks_cover_each_channel_once_with_its_own_group(monkeypatch: pytest.MonkeyPatch, G: int, points: int):
    monkeypatch.setitem(gated._CHUNK_POINTS, "cpu", points)
    seen = torch.full((D,), -1)
    for channels, groups in chunks(G):
        width, filters = channels.stop - channels.start, groups.stop - groups.start
        assert width % filters == 0  # what a backend needs to spread the filters
        assert seen[channels].eq(-1).all()
        seen[channels] = torch.arange(groups.start, groups.stop).repeat_interleave(width // filters)
    assert torch.equal(seen, torch.arange(G).repeat_interleave(D // G))


def test_small_chunks_hold_parts_of_a_group_or_several_groups(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(gated._CHUNK_POINTS, "cpu", 4 * B * L)
    assert chunks(1) == [(slice(0, 4), slice(0, 1)), (slice(4, 8), slice(0, 1)), (slice(8, 12), slice(0, 1))]
    assert chunks(4) == [
        (slice(0, 3), slice(0, 1)),
        (slice(3, 6), slice(1, 2)),
        (slice(6, 9), slice(2, 3)),
        (slice(9, 12), slice(3, 4)),
    ]
    assert chunks(6) == [(slice(0, 4), slice(0, 2)), (slice(4, 8), slice(2, 4)), (slice(8, 12), slice(4, 6))]


def test_one_sequence_is_cut_into_no_fewer_rows_than_transform_well(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(gated._CHUNK_POINTS, "cpu", 1)
    widths = [c.stop - c.start for c, _ in gated._chunks(torch.zeros(1, D, L), Taps(torch.zeros(12, 5)))]
    assert widths == 3 * [gated._LEAST_ROWS]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("points", [1, 5 * B * L], ids="{} points".format)
@pytest.mark.parametrize("G", [1, 2, 12], ids="G={}".format)
def test_chunks_change_no_result(monkeypatch: pytest.MonkeyPatch, G: int, points: int, backend: str):
    given = inputs(B, D, L, L, G).leaves()
    cotangent = torch.randn(B, D, L, dtype=torch.float64)
    y = oracle(*given)
    wanted = gradients(y, given, cotangent)
    counts: list[int] = []
    cut = gated._chunks
    monkeypatch.setattr(gated, "_chunks", lambda u, taps: counts.append(len(list(cut(u, taps)))) or cut(u, taps))
    monkeypatch.setitem(gated._CHUNK_POINTS, "cpu", points)
    spectrum = prepare(given.h.detach(), L, backend=backend)
    assert_close(long_conv(given.u, spectrum, given.skip, **given.gates()), y, **tolerances.FLOAT64)
    actual = long_conv(given.u, given.h, given.skip, **given.gates(), backend=backend)
    assert_close(actual, y, **tolerances.FLOAT64)
    for name, gradient in gradients(actual, given, cotangent).items():
        assert_close(gradient, wanted[name], **tolerances.FLOAT64)
    assert len(counts) == 3  # prepared, forward, backward
    assert min(counts) > 1


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
        arguments = (u, h, skip, pre, post, None, 0, backend)
    elif given == "no gates":
        arguments = (u, h, None, None, None, None, 0, backend)
    else:
        spectrum = prepare(h, 9, backend=backend)
        arguments = (u, spectrum.h, skip, pre, post, spectrum.taps.spectrum, spectrum.taps.n, backend)
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
