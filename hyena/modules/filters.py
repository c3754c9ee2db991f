"""The implicit filter of Hyena: taps as a function of their position, h_n = MLP(z_n) * window(t_n).

The grid has `max_length` points: t_n = n / (max_length - 1), and z_n = [t_n, cos(f_j w_n), -sin(f_j w_n)] with
w_n = 2 pi n / max_length and f_j from 1e-4 to M - 1 in M = (features - 1) / 2 steps. A shorter sequence uses the first points
of the grid, never another grid. (arXiv 2302.10866, section 3.3 and appendix D; formulas as in the released safari code.)
"""

import itertools
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hyena.configs.filters import ImplicitFilterConfig
from hyena.configs.mixers import Beyond
from hyena.errors import HyenaError
from hyena.modules.kept import KeptFilter
from hyena.ops import windowed
from hyena.ops.decoding import Decoding, begin, online_bytes
from hyena.ops.lags import Lags
from hyena.ops.online import Part


def positions(n: Tensor, max_length: int, features: int) -> tuple[Tensor, Tensor]:
    """t (K,) and z (K, features) at grid points n (K,), whole or between; computed in float64, returned in float32."""
    n = n.double()
    bands = (features - 1) // 2
    f = torch.full((1,), 1e-4, device=n.device).double()
    if bands > 1:
        f = torch.linspace(1e-4, bands - 1, bands, dtype=torch.float64, device=n.device)
    t = n / max(max_length - 1, 1)
    angle = 2 * math.pi * n[:, None] / max_length * f
    z = torch.cat([t[:, None], angle.cos(), -angle.sin()], dim=1)
    return t.float(), z.float()


class ImplicitFilter(KeptFilter):
    """Taps (G, K) for any K; parameters and grid stay in float32 when the model is cast to half precision."""

    t: Tensor
    z: Tensor
    decay: Tensor | None

    def __init__(self, config: ImplicitFilterConfig, groups: int, max_length: int, beyond: Beyond):
        """groups: G, the number of filters; max_length: points of the grid."""
        super().__init__(groups)
        self.config, self.max_length, self.beyond = config, max_length, beyond
        t, z = positions(torch.arange(max_length), max_length, config.features)
        self.register_buffer("t", t)
        if config.train_features:
            self.z = nn.Parameter(z)
        else:
            self.register_buffer("z", z)
        widths = [config.features] + (config.inner_layers + 1) * [config.width]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.out = nn.Linear(config.width, groups, bias=False)
        self.frequency = nn.Parameter(torch.full((config.width,), config.frequency))
        fast, slow = (math.log(config.decay_target) / fraction for fraction in (config.fast_decay, config.slow_decay))
        self.register_buffer("decay", torch.linspace(slow, fast, groups) if config.window == "exponential" else None)

    def used(self, length: int) -> int:
        """K: the taps that a sequence of `length` tokens can meet. Past max_length `beyond` decides."""
        if self.beyond == "truncate":  # not min(), which would ask: a graph for any length has no answer
            return torch.sym_min(length, self.max_length)
        if self.beyond == "extend" or length <= self.max_length:
            return length
        raise HyenaError(
            f"the sequence has {length} tokens but the filters have max_length {self.max_length} and beyond='error': "
            "shorten it, build the model with beyond='truncate' or 'extend', or use model.resized(new_length)"
        )

    def bounded(self) -> bool:
        """Whether sequences longer than max_length are an error."""
        return self.beyond == "error"

    def _worth(self, K: int) -> int:
        """Never past the grid on nobody's request: there the filter may have no value at all."""
        ahead = super()._worth(K)
        return min(ahead, self.max_length) if self.max_length >= K else ahead

    def lags_source(self) -> Callable[[int], Tensor]:
        """What gives the first K taps (G, K), without a gradient, to the online convolution."""

        def first(K: int) -> Tensor:
            with torch.no_grad():
                return self.shared(K)

        return first

    @property
    def reach(self) -> int | None:
        """Taps in all; None: no end."""
        return None if self.beyond == "extend" else self.max_length

    def init_state(self, batch_size: int, max_length: int | None = None, decoding: Decoding = "auto") -> Part:
        """An online convolution of this filter alone (a model has one for all of its filters)."""
        lags = Lags([self.lags_source()], self.reach, self.max_length)
        return begin(lags, batch_size, max_length, decoding).parts()[0]

    def past(self, state: Part, n: int) -> Tensor | None:
        """What the inputs so far contribute to the next n outputs (B, G, n); None: nothing."""
        return state.past(n)

    def near(self, state: Part, n: int) -> Tensor:
        """The first n taps (G, n), or as many as there are: for what the next n inputs do among themselves."""
        return state.taps(n)

    def commit(self, state: Part, u: Tensor, lengths: Tensor | None = None) -> None:
        """Take in inputs (B, G, n), of row b the first lengths[b]."""
        state.commit(u, lengths)

    def state_bytes(self, L: int, decoding: Decoding = "auto") -> int:
        """Bytes of one row's online convolution over L tokens."""
        return online_bytes(self.groups, max(4, self.out.weight.element_size()), self.reach, L, decoding)

    def section(self, start: int, stop: int) -> Float[Tensor, "G K"]:
        """Taps start .. stop - 1 of the grid alone, never kept: a long filter read in pieces, in bounded memory."""
        t, z = self._grid(stop)
        return self._values(t[start:], z[start:])

    def _taps(self, K: int) -> Tensor:
        """The first K taps."""
        return self._values(*self._grid(K))

    def _values(self, t: Tensor, z: Tensor) -> Tensor:
        """The formula at grid points t (K,) with features z (K, features), in the dtype of the parameters."""
        with torch.autocast(self.t.device.type, enabled=False):
            for layer in self.layers:
                z = torch.sin(self.frequency * layer(z))
            taps = self.out.weight @ z.T  # (G, K): the transposed order leaves each filter contiguous
            if self.decay is not None:
                taps = windowed(taps, self.decay, t, self.config.shift)
            if self.config.channel_norm:
                taps = taps / taps.norm(p=1, dim=0, keepdim=True)
        return taps

    def _grid(self, K: int) -> tuple[Tensor, Tensor]:
        """t (K,) and z (K, features): the stored grid, which with beyond='extend' goes on past its end."""
        if self.max_length >= K:
            return self.t[:K], self.z[:K]
        if torch.compiler.is_exporting():
            raise HyenaError(
                f"a program goes up to max_length {self.max_length}, not to {K}: use beyond='truncate' or resized()"
            )
        self.check_length(K)
        t, z = positions(torch.arange(self.max_length, K), self.max_length, self.config.features)
        return torch.cat([self.t, t.to(self.t)]), torch.cat([self.z, z.to(self.z)])

    def on_formula(self) -> bool:
        """Whether the stored features are those of the formula, which a trained or published z need not be."""
        z = positions(torch.arange(self.max_length), self.max_length, self.config.features)[1]
        # The published grids were computed in float32: at the highest frequency that is off by up to about 1e-4 turns.
        return torch.allclose(self.z.detach().float().cpu(), z, atol=1e-3)

    def check_length(self, length: int) -> None:
        """Raise `HyenaError` where `length` tokens cannot be read: past the grid, or past one that has no formula."""
        if self.used(length) > self.max_length and not self.on_formula():
            raise HyenaError(
                "beyond='extend' continues the grid by its formula, but this model's positional features differ from it "
                "(they were trained or resized): use beyond='truncate', or model.resized(new_length)"
            )

    def resized(self, length: int) -> None:
        """Stretch the filter onto a grid of `length` points, in place: the same function of t, sampled anew.

        The formula is evaluated between the old points; what trained features differ from it is interpolated linearly.
        """
        features, old = self.config.features, self.max_length
        trained = self.z.detach().double().cpu() - positions(torch.arange(old), old, features)[1].double()
        places = torch.linspace(0, old - 1, length, dtype=torch.float64)
        low = places.floor().long().clamp(max=max(old - 2, 0))
        high, share = (low + 1).clamp(max=old - 1), (places - low)[:, None]
        t, z = positions(places, old, features)
        z = (z.double() + trained[low] * (1 - share) + trained[high] * share).to(self.z)
        self.t = t.to(self.t)
        self.z = nn.Parameter(z, self.z.requires_grad) if isinstance(self.z, nn.Parameter) else z
        self.max_length, self._cached = length, None

    def flops(self, length: int) -> int:
        """The MLP over K points; the filter is computed once a forward, not once a sequence."""
        return 2 * self.used(length) * sum(layer.weight.numel() for layer in [*self.layers, self.out])
