"""The explicit filter: its taps are parameters, each set shared by D / G consecutive channels (arXiv 2503.01868: SE, MR).

    h_t = taps_t                                                     for t < K, 0 beyond
    h_t = taps_t exp(-delta_g t / (T - 1)),  delta_g = 10^(low + (high - low) g / (G - 1))    with a decay

The decay is a constant of the configuration. Its T is a number of tokens of its own and not the model's max_length, so that a
model of another length has the same filters; exported checkpoints hold the product, and then there is none.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyena.configs.filters import ExplicitFilterConfig
from hyena.errors import HyenaError
from hyena.modules.kept import KeptFilter
from hyena.modules.precision import at_least_float32
from hyena.ops import long_conv, windowed
from hyena.ops.decoding import Decoding
from hyena.ops.gated_step import FilterStep
from hyena.ops.history import Window
from hyena.ops.tree import State

DECAYS = {"strong": (0.0, 2.0), "normal": (-1.0, 2.0), "weak": (-2.0, 2.0)}
"""low and high, as in the released savanna code."""


@dataclass
class ExplicitState(State):
    """What an explicit filter remembers."""

    inputs: Window
    """(B, D, K - 1): the last inputs."""
    step: FilterStep
    """Of the filter when the state was begun."""

    @property
    def kept(self) -> Tensor:
        """The last inputs, as `StepState` has them."""
        return self.inputs.inputs

    @property
    def modes(self) -> None:
        """None."""


class ExplicitFilter(KeptFilter):
    """Taps (G, K); they stay in float32 when the model is cast to half precision."""

    def __init__(self, config: ExplicitFilterConfig, width: int):
        """width: D. Taps begin as those of a depthwise convolution do, U(+-1 / sqrt(K)); under a decay as N(0, 1 / T)."""
        groups = width if config.groups is None else config.groups
        if width % groups:
            raise HyenaError(f"filter.groups is {groups}, which does not divide width {width}: use a divisor")
        super().__init__(groups)
        self.config, self.width = config, width
        shape = (groups, config.taps)
        if config.decay == "none":
            bound = 1 / math.sqrt(config.taps)
            self.taps = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        else:
            self.taps = nn.Parameter(torch.randn(shape) / math.sqrt(config.span))

    def used(self, length: int) -> int:
        """K, or as many as there are tokens; in a graph for any length all of them (`met`)."""
        return self.config.taps if torch.compiler.is_exporting() else min(length, self.config.taps)

    def _worth(self, K: int) -> int:
        """All of them: they are there."""
        return self.config.taps

    def _taps(self, K: int) -> Tensor:
        """The first K taps."""
        return self.section(0, K)

    def section(self, start: int, stop: int) -> Float[Tensor, "G K"]:
        """Taps start .. stop - 1 alone, stop <= K."""
        # All of a parameter sliced is the parameter itself, which asks for a gradient even where none is recorded.
        taps = (self.taps if torch.is_grad_enabled() else self.taps.detach())[:, start:stop]
        if self.config.decay == "none":
            return taps
        delta = torch.logspace(*DECAYS[self.config.decay], self.groups, dtype=taps.dtype, device=taps.device)
        t = torch.arange(start, stop, dtype=taps.dtype, device=taps.device)
        return windowed(taps.contiguous(), delta, t / (self.config.span - 1), 0.0)

    def bounded(self) -> bool:
        """Any length is read."""
        return False

    def check_length(self, length: int) -> None:
        """Any length is read."""

    def resized(self, length: int) -> None:
        """Nothing is tied to the model's length."""

    def flops(self, length: int) -> int:
        """A product a tap where there is a decay; it is computed once a forward, not once a sequence."""
        return 0 if self.config.decay == "none" else self.groups * self.used(length)

    # --- the stream: for inference, under torch.no_grad() -------------------------------------------------------------------

    def init_state(self, batch_size: int, max_length: int | None = None, decoding: Decoding = "auto") -> ExplicitState:
        """Nothing read: zeros. max_length and decoding are for other filters: nothing here depends on them."""
        inputs = Window.begin(batch_size, self.width, self.config.taps - 1, self.taps.detach())
        return ExplicitState(inputs, self.step())

    def state_bytes(self, L: int, decoding: Decoding = "auto") -> int:
        """Bytes of one row's last inputs, at any length."""
        return self.width * (self.config.taps - 1) * self.taps.element_size()

    def present(self, state: ExplicitState, u: Float[Tensor, "B D n"]) -> Float[Tensor, "B D n"]:
        """The outputs at the times of inputs (B, D, n) that follow those of the state, which is not changed."""
        n = u.shape[2]
        if n == 1:
            past = (state.kept * state.step.head).sum(-1, keepdim=True)
            return torch.addcmul(past, u, state.step.now)
        # The past apart: its inputs then meet no padding of this chunk, and a long chunk is not copied to stand behind them.
        y = long_conv(u, self.prepared(n, self.width))
        kept = state.kept
        near = min(n, kept.shape[2])
        if near:
            past = torch.cat([kept, kept.new_zeros(*kept.shape[:2], near)], 2)
            y[..., :near] += long_conv(past, self.shared(past.shape[2]))[..., kept.shape[2] :]
        return y

    def commit(self, state: ExplicitState, u: Float[Tensor, "B D n"], lengths: Int[Tensor, "B"] | None = None) -> None:
        """Take in inputs (B, D, n), of row b the first lengths[b] only; in place."""
        state.inputs.append(u.detach().to(at_least_float32(u.dtype)), lengths)

    def step(self) -> FilterStep:
        """The weights of a single token, kept as taps are."""
        return self._made("step", self._step_weights)

    def _step_weights(self) -> FilterStep:
        """The same, made anew: a filter that is all head."""
        with torch.no_grad():
            taps = self._taps(self.config.taps).repeat_interleave(self.width // self.groups, 0)
            none = taps.new_zeros(self.width, 0, 2, dtype=torch.float64)
            return FilterStep(none, none.flatten(1), taps[:, :1].contiguous(), taps[:, 1:].flip(1))

    def _sources(self) -> list[Tensor]:
        """As in `KeptFilter`, without walking through modules: there are none."""
        return [self.taps.detach()]
