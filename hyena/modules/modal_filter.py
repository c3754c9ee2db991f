"""The complex modal filters: taps that are sums of decaying oscillations, in two forms of their poles (`modal_stream.py`).

    h_t = Re sum_n R_n lam_n^t;    polar: lam_n = exp(-exp(log_decay_n) + i angle_n);    cartesian: lam_n = Re + i Im

The S poles of a filter are complex and their conjugates are implied by Re: 2 S real states a channel. Polar poles stay within
the unit circle whatever training does; cartesian ones are what StripedHyena 1 publishes.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hyena.configs.filters import ModalFilterConfig
from hyena.modules.modal_stream import ModalStream
from hyena.ops import modal


class ModalFilter(ModalStream):
    """The polar form, for training."""

    def __init__(self, config: ModalFilterConfig, groups: int):
        """groups: G, the number of filters. Filters start with an energy of about 1, whatever their poles."""
        super().__init__(groups, config.order, config.head)
        self.config = config
        radius, angle, residues = drawn(config, groups)
        self.log_decay = nn.Parameter((-radius.log()).log().float())
        self.angle = nn.Parameter(angle.float())
        self.residues = nn.Parameter(residues)

    def exponents(self) -> Float[Tensor, "G S 2"]:
        """(log |lam|, angle) of every pole, in float64."""
        wide = modal.wide(self.log_decay)
        return torch.stack([-self.log_decay.to(wide).exp(), self.angle.to(wide)], -1)

    def amplitudes(self) -> Float[Tensor, "G S 2"]:
        """(Re R, Im R)."""
        return self.residues


class CartesianFilter(ModalStream):
    """The published form: `poles` (G, S, 2), real and imaginary parts."""

    def __init__(self, config: ModalFilterConfig, groups: int):
        """groups: G. The same filters at the beginning as in the polar form."""
        super().__init__(groups, config.order, config.head)
        self.config = config
        radius, angle, residues = drawn(config, groups)
        self.poles = nn.Parameter(torch.stack([radius * angle.cos(), radius * angle.sin()], -1).float())
        self.residues = nn.Parameter(residues)

    def exponents(self) -> Float[Tensor, "G S 2"]:
        """(log |lam|, angle) of every pole, in float64."""
        return modal.log_poles_of(self.poles)

    def amplitudes(self) -> Float[Tensor, "G S 2"]:
        """(Re R, Im R)."""
        return self.residues


FORMS: dict[str, type[ModalFilter] | type[CartesianFilter]] = {"polar": ModalFilter, "cartesian": CartesianFilter}


def drawn(config: ModalFilterConfig, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """|lam| and angles (G, S) in float64 as the options say; residues (G, S, 2) that give each mode 1 / S of an energy of 1."""
    shape = (groups, config.order)
    radius = torch.empty(shape, dtype=torch.float64).uniform_(config.r_min, config.r_max)
    angle = torch.empty(shape).uniform_(0, 2 * math.pi).double()
    # A mode's energy is |R|^2 / (2 (1 - |lam|^2)).
    size = ((1 - radius**2) / config.order).sqrt()
    return radius, angle, (torch.randn(*shape, 2) * size[..., None]).float()
