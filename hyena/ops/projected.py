"""`hyena_conv` with the projection before it, for inference: the streams, thrice as wide as the model, never stand whole."""

import torch
from jaxtyping import Float
from torch import Tensor

from hyena.ops.cuts import pieces
from hyena.ops.gated import compute_dtype
from hyena.ops.hyena_conv import convolved, unbiased
from hyena.ops.kernel import check_size
from hyena.ops.long_conv import check_prepared
from hyena.ops.native.calls import fresh
from hyena.ops.spectrum import Spectrum

BLOCK = 128
"""Channels at a time: the matrix product is still wide, and the tokens of its result stand close together."""


@torch.no_grad()
def projected_hyena_conv(
    x: Float[Tensor, "B L C"],
    weight: Float[Tensor, "E C"],
    offset: Float[Tensor, "E"] | None,
    taps: Float[Tensor, "E S"],
    bias: Float[Tensor, "E"] | None,
    h: Spectrum,
    skip: Float[Tensor, "D"] | None = None,
) -> Float[Tensor, "B D L"]:
    """`hyena_conv` of the streams weight x + offset, E = 3 D, with a prepared filter; no gradient.

    x (B, L, C) is projected into one buffer that is used again, `BLOCK` channels of each stream at a time: B L 3 BLOCK numbers
    beside the result. For a module whose shapes fit: of what is given only the filter's length and precision are checked.
    """
    (B, L, C), D = x.shape, len(weight) // 3
    each = D // len(h.h)  # channels that share a filter stay together
    block = min(D, max(each, BLOCK // each * each))
    bias = unbiased(taps) if bias is None else bias
    check_prepared(h, L, x.dtype, "auto")
    check_size(L, h.h.shape[1])
    rows, room = x.reshape(B * L, C), fresh(x.new_empty(B * L * 3 * block))
    y, dtype = fresh(x.new_empty(D, B, L)).transpose(0, 1), compute_dtype(x, h.h)
    for some in pieces(D, block):
        part = _thirds(weight, some)
        streams = torch.mm(rows, part.T, out=room[: B * L * len(part)].view(B * L, len(part))).view(B, L, len(part))
        short = _thirds(taps, some), _thirds(bias, some), None if offset is None else _thirds(offset, some)
        prepared, skips = h.groups(slice(some.start // each, some.stop // each)), None if skip is None else skip[some]
        filters = streams.transpose(1, 2), short, prepared.h, skips
        convolved(*filters, h.backend, prepared.taps, dtype, out=y[:, some])
    return y


def _thirds(t: Tensor, some: slice) -> Tensor:
    """Rows `some` of each third of t (3 D, ...)."""
    return torch.cat([third[some] for third in t.chunk(3)])
