"""The operations around PyTorch's backends: chunks of channels."""

import pytest
import torch
from torch.testing import assert_close

from hyena.ops import chunked, long_conv, prepare
from hyena.ops.taps import Taps
from tests import tolerances
from tests.ops.oracle import gradients, inputs, oracle

B, D, L = 2, 12, 40


def chunks(G: int) -> list[tuple[slice, slice]]:
    """The chunks of D channels in G groups."""
    return list(chunked._chunks(torch.zeros(B, D, L), Taps(torch.zeros(G, 5))))


@pytest.mark.parametrize("points", [1, 2 * B * L, 3 * B * L, 5 * B * L, 8 * B * L], ids="{} points".format)
@pytest.mark.parametrize("G", [1, 2, 3, 4, 12], ids="G={}".format)
def test_chunks_cover_each_channel_once_with_its_own_group(monkeypatch: pytest.MonkeyPatch, G: int, points: int):
    monkeypatch.setitem(chunked._CHUNK_POINTS, "cpu", points)
    seen = torch.full((D,), -1)
    for channels, groups in chunks(G):
        width, filters = channels.stop - channels.start, groups.stop - groups.start
        assert width % filters == 0  # what a backend needs to spread the filters
        assert seen[channels].eq(-1).all()
        seen[channels] = torch.arange(groups.start, groups.stop).repeat_interleave(width // filters)
    assert torch.equal(seen, torch.arange(G).repeat_interleave(D // G))


def test_small_chunks_hold_parts_of_a_group_or_several_groups(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(chunked._CHUNK_POINTS, "cpu", 4 * B * L)
    assert chunks(1) == [(slice(0, 4), slice(0, 1)), (slice(4, 8), slice(0, 1)), (slice(8, 12), slice(0, 1))]
    assert chunks(4) == [
        (slice(0, 3), slice(0, 1)),
        (slice(3, 6), slice(1, 2)),
        (slice(6, 9), slice(2, 3)),
        (slice(9, 12), slice(3, 4)),
    ]
    assert chunks(6) == [(slice(0, 4), slice(0, 2)), (slice(4, 8), slice(2, 4)), (slice(8, 12), slice(4, 6))]


def test_one_sequence_is_cut_into_no_fewer_rows_than_transform_well(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(chunked._CHUNK_POINTS, "cpu", 1)
    widths = [c.stop - c.start for c, _ in chunked._chunks(torch.zeros(1, D, L), Taps(torch.zeros(12, 5)))]
    assert widths == 3 * [chunked._LEAST_ROWS]


@pytest.mark.parametrize("backend", chunked.BACKENDS)
@pytest.mark.parametrize("points", [1, 5 * B * L], ids="{} points".format)
@pytest.mark.parametrize("G", [1, 2, 12], ids="G={}".format)
def test_chunks_change_no_result(monkeypatch: pytest.MonkeyPatch, G: int, points: int, backend: str):
    given = inputs(B, D, L, L, G).leaves()
    cotangent = torch.randn(B, D, L, dtype=torch.float64)
    y = oracle(*given)
    wanted = gradients(y, given, cotangent)
    counts: list[int] = []
    cut = chunked._chunks
    monkeypatch.setattr(chunked, "_chunks", lambda u, taps: counts.append(len(list(cut(u, taps)))) or cut(u, taps))
    monkeypatch.setitem(chunked._CHUNK_POINTS, "cpu", points)
    spectrum = prepare(given.h.detach(), L, backend=backend)
    assert_close(long_conv(given.u, spectrum, given.skip, **given.gates()), y, **tolerances.FLOAT64)
    actual = long_conv(given.u, given.h, given.skip, **given.gates(), backend=backend)
    assert_close(actual, y, **tolerances.FLOAT64)
    for name, gradient in gradients(actual, given, cotangent).items():
        assert_close(gradient, wanted[name], **tolerances.FLOAT64)
    assert len(counts) == 3  # prepared, forward, backward
    assert min(counts) > 1
