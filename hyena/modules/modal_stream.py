"""What every modal filter does, however its poles are stored: taps of any number, and a stream that goes on in O(S) a token.

    h_t = head_t                             for t < K_head (a parameter a tap)
    h_t = Re sum_n R_n lam_n^(t - K_head)    for t >= K_head

The filter has no grid: it is defined at every lag, whatever the length. Poles and residues are complex, their conjugates
implied by Re, or both real.

The tail counts from the end of the head, and its state takes each input in K_head tokens late. The other way, a tail from lag 0
whose first taps the head subtracts, multiplies residues by lam^-K_head: for a mode that fades within the head, 0.3^-16 is 2e8,
and all precision of float32 would cancel. (StripedHyena's filters are those without a head; arXiv 2310.18780 has h_0 apart.)
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyena.modules.kept import KeptFilter
from hyena.modules.precision import at_least_float32
from hyena.ops import long_conv, modal
from hyena.ops.decoding import Decoding
from hyena.ops.gated_step import FilterStep
from hyena.ops.history import Window
from hyena.ops.tree import State


@dataclass
class ModalState(State):
    """What a modal filter remembers, the same number of bytes at every length."""

    modes: Tensor
    """(B, G, S, c): the modes, real and imaginary parts or real ones alone, in float64 (see `hyena.ops.modal`)."""
    head: Window | None
    """The last K_head inputs, which the modes have not seen yet."""
    step: FilterStep
    """Of the filter when the state was begun: looked up once a stream and not for every token."""

    @property
    def kept(self) -> Tensor | None:
        """The last K_head inputs, as `StepState` has them."""
        return None if self.head is None else self.head.inputs


class ModalStream(KeptFilter):
    """Taps (G, K) for any K; parameters stay in float32 when the model is cast to half precision.

    A filter says what its poles and residues are: `exponents`, `amplitudes`.
    """

    parts = 2
    """c: numbers that a pole, a residue and a mode are: 2, complex; 1, real."""
    residues: nn.Parameter
    head: nn.Parameter | None

    def __init__(self, groups: int, order: int, head: int = 0):
        """groups: G, the number of filters; order: S; head: K_head, taps with an energy of about 1 in all."""
        super().__init__(groups)
        self.order, self.head_taps = order, head
        self.head = nn.Parameter(torch.randn(groups, head) / math.sqrt(head)) if head else None

    def exponents(self) -> Float[Tensor, "G S c"]:
        """log lam of every pole in its parts, (log |lam|, angle) or the logarithm alone where poles are real, in float64."""
        raise NotImplementedError

    def amplitudes(self) -> Float[Tensor, "G S c"]:
        """The residues."""
        raise NotImplementedError

    def used(self, length: int) -> int:
        """K: all of them; in a graph for any length some more, so that it need not ask where the head ends (`met`)."""
        return length + self.head_taps if torch.compiler.is_exporting() else length

    def section(self, start: int, stop: int) -> Float[Tensor, "G K"]:
        """Taps start .. stop - 1 alone, never kept: a long filter read in pieces, in bounded memory."""
        K = self.head_taps
        parts = [] if self.head is None or start >= K else [self.head[:, start:stop]]
        if stop > K:
            first = max(start - K, 0)
            parts.append(modal.modal_taps(self.exponents(), self.amplitudes(), stop - K - first, first))
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]

    def _taps(self, K: int) -> Tensor:
        """The first K taps."""
        return self.section(0, K)

    def bounded(self) -> bool:
        """Any length is read."""
        return False

    def check_length(self, length: int) -> None:
        """Any length is read."""

    def resized(self, length: int) -> None:
        """Nothing is tied to a length."""

    def flops(self, length: int) -> int:
        """The tail, a product of c S terms a tap; it is computed once a forward, not once a sequence."""
        return 2 * self.parts * self.order * self.groups * max(length - self.head_taps, 0)

    # --- the stream: one filter a channel, G = D; for inference, under torch.no_grad() -------------------------------------

    def init_state(self, batch_size: int, max_length: int | None = None, decoding: Decoding = "auto") -> ModalState:
        """Nothing read yet. max_length and decoding are for other filters: nothing here depends on them."""
        like, shape = self.residues, (batch_size, self.groups, self.order, self.parts)
        modes = torch.zeros(shape, dtype=modal.wide(like), device=like.device)
        head = None if self.head is None else Window.begin(batch_size, self.groups, self.head_taps, like.detach())
        return ModalState(modes, head, self.step())

    def state_bytes(self, L: int, decoding: Decoding = "auto") -> int:
        """Bytes of one row's state, at any length."""
        modes = self.parts * self.order * torch.finfo(modal.wide(self.residues)).bits // 8
        return self.groups * (modes + self.head_taps * self.residues.element_size())

    def past(self, state: ModalState, n: int) -> Float[Tensor, "B D n"]:
        """What the inputs so far give to the next n outputs, in the dtype of the residues."""
        if n == 1:
            return self._next(state)
        if state.head is None:
            return modal.modal_past(state.modes, self.exponents(), self.amplitudes(), n)
        # The inputs kept meet taps of the head in the next K_head outputs alone; later ones see them through the modes.
        K, near = self.head_taps, min(n, self.head_taps)
        log_poles, kept = self.exponents(), state.head.inputs
        rest = torch.zeros_like(kept[..., :1]).expand(*kept.shape[:2], near)
        y = long_conv(torch.cat([kept, rest], 2), self.shared(K + near))[..., K:]
        y = y + modal.modal_past(state.modes, log_poles, self.amplitudes(), near)
        if n == near:
            return y
        later = modal.modal_state(kept, log_poles, state.modes)
        return torch.cat([y, modal.modal_past(later, log_poles, self.amplitudes(), n - near)], 2)

    def near(self, state: ModalState, n: int) -> Float[Tensor, "G n"]:
        """The first n taps: for what the next n inputs do among themselves."""
        return state.step.now if n == 1 else self.shared(n)

    def present(self, state: ModalState, u: Float[Tensor, "B D n"]) -> Float[Tensor, "B D n"]:
        """The outputs at the times of inputs (B, D, n) that follow those of the state, which is not changed."""
        n = u.shape[2]
        if n == 1:
            return torch.addcmul(self._next(state), u, state.step.now)
        return self.past(state, n) + long_conv(u, self.prepared(n, self.groups))

    def _next(self, state: ModalState) -> Tensor:
        """`past` for one output, in a few operations."""
        y = modal.modal_read(state.modes, state.step.read).to(self.residues.dtype)
        if state.head is not None:
            y = y + (state.head.inputs * state.step.head).sum(-1)
        return y[..., None]

    def commit(self, state: ModalState, u: Float[Tensor, "B D n"], lengths: Int[Tensor, "B"] | None = None) -> None:
        """Take in inputs (B, D, n), of row b the first lengths[b] only; in place."""
        n = u.shape[2]
        u = u.detach().to(at_least_float32(u.dtype))
        entering = u if state.head is None else state.head.followed_by(u)[..., :n]
        if n == 1:
            modal.modal_advance(state.modes, state.step.lam, entering[..., 0], lengths)
        else:
            state.modes = modal.modal_state(entering, self.exponents(), state.modes, lengths)
        if state.head is not None:
            state.head.append(u, lengths)

    def step(self) -> FilterStep:
        """The weights of a single token, kept as taps are."""
        return self._made("step", self._step_weights)

    def _step_weights(self) -> FilterStep:
        """The same, made anew."""
        with torch.no_grad():
            taps = self._taps(self.head_taps + 1)
            now, head = taps[:, :1].contiguous(), taps[:, 1:].flip(1)
            return FilterStep(*modal.step_weights(self.exponents(), self.amplitudes()), now, head)

    def _sources(self) -> list[Tensor]:
        """As in `KeptFilter`, without walking through modules: there are none."""
        return [t.detach() for t in self._parameters.values() if t is not None]
