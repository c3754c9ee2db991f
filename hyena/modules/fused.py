"""What stands between the projections of a gated convolution, as one operator, by whichever path is open."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hyena.modules.kept import KeptFilter
from hyena.modules.projection import channels_first, channels_first_apart, plain_linear
from hyena.modules.short_conv import ShortConv
from hyena.ops import Spectrum, hyena_conv, long_conv, projected_hyena_conv


def gated(
    x: Float[Tensor, "B L D"],
    linear: nn.Module,
    short: ShortConv | None,
    filter: KeptFilter,
    skip: Float[Tensor, "D"] | None,
) -> Float[Tensor, "B D L"]:
    """q * (h conv (k * v) + skip * (k * v)) with (q, k, v) the thirds of short(linear(x)), or of linear(x)."""
    filters = filter.prepared(x.shape[1], x.shape[2])
    if short is None:
        q, k, v = channels_first(linear, x).chunk(3, dim=1)
        return long_conv(v, filters, skip, pre=k, post=q)
    if isinstance(filters, Spectrum) and plain_linear(linear) and not torch.is_autocast_enabled(x.device.type):
        return projected_hyena_conv(x, linear.weight, linear.bias, short.taps, short.bias, filters, skip)
    streams, offset = channels_first_apart(linear, x)
    return hyena_conv(streams, short.taps, short.bias, filters, skip, offset=offset)
