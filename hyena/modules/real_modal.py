"""The real modal filters of StripedHyena 2's LI: taps that are sums of decaying exponentials, one filter a channel.

    h_t = sum_n R_n exp(-rate_n t);    rates: rate_n = exp(p_n) gamma_n, trained;    log_poles: -rate_n itself, published

(arXiv 2503.01868, section 2.2; initial values as in the released savanna code, whose gamma is trained by its logarithm.)
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hyena.configs.filters import RealModalFilterConfig
from hyena.modules.modal_stream import ModalStream
from hyena.ops import modal

GAMMA = (0.01, 0.1)
"""Between these gamma begins, with p = -1: modes that last for 27 to 270 tokens."""


class RealModalFilter(ModalStream):
    """What both forms share: real modes are half the numbers and half the work of complex ones."""

    parts = 1

    def __init__(self, config: RealModalFilterConfig, groups: int):
        """groups: G, the number of filters."""
        super().__init__(groups, config.order)
        self.config = config
        self.residues = nn.Parameter(0.1 * torch.randn(groups, config.order) / math.sqrt(config.order))

    def amplitudes(self) -> Float[Tensor, "G S 1"]:
        """The residues, stored (G, S)."""
        return self.residues[..., None]


class RateFilter(RealModalFilter):
    """Parameters `p` and `log_gamma` (G, S): a rate is above 0 whatever training does."""

    def __init__(self, config: RealModalFilterConfig, groups: int):
        """groups: G."""
        super().__init__(config, groups)
        self.p = nn.Parameter(torch.full((groups, config.order), -1.0))
        self.log_gamma = nn.Parameter(torch.empty(groups, config.order).uniform_(*GAMMA).log())

    def exponents(self) -> Float[Tensor, "G S 1"]:
        """Minus the rates, in float64."""
        wide = modal.wide(self.p)
        return -(self.p.to(wide) + self.log_gamma.to(wide)).exp()[..., None]


class LogPoleFilter(RealModalFilter):
    """The parameter `log_poles` (G, S) as it is published: log lam, below 0 for a filter that fades."""

    def __init__(self, config: RealModalFilterConfig, groups: int):
        """groups: G. The same filters at the beginning as in the other form."""
        super().__init__(config, groups)
        self.log_poles = nn.Parameter(-math.exp(-1) * torch.empty(groups, config.order).uniform_(*GAMMA))

    def exponents(self) -> Float[Tensor, "G S 1"]:
        """The parameter, in float64."""
        return self.log_poles.to(modal.wide(self.log_poles))[..., None]


FORMS: dict[str, type[RateFilter] | type[LogPoleFilter]] = {"rates": RateFilter, "log_poles": LogPoleFilter}
