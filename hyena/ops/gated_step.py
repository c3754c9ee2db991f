"""One token of a gated convolution by the compiled kernel: two calls for some thirty small operations.

    q, k, v = the thirds of short_conv(x);  u = k v;  y = q (h conv u + skip u);   h: K_head taps, then S modes; or fewer

`peek` reads what is kept and changes nothing, `commit` takes the token in. `modules/gated_conv.py` has the same in PyTorch, for
any number of tokens; tests hold the two against each other.
"""

from typing import Any, NamedTuple, Self

import torch
from jaxtyping import Float
from torch import Tensor

from hyena.ops import kernel
from hyena.ops.native import tokens


class StepWeights(NamedTuple):
    """What a token meets."""

    taps: Float[Tensor, "C K"]
    """Of the short convolution, C = 3 D, the present token's first."""
    bias: Float[Tensor, "C"]
    lam: Float[Tensor, "D S c"]
    """`modal_advance`'s, c = 2 complex or c = 1 real, and the next is `modal_read`'s, both float64."""
    read: Float[Tensor, "D M"]
    now: Float[Tensor, "D 1"]
    """Tap 0 of the long filter."""
    head: Float[Tensor, "D K_head"]
    """The taps that meet the inputs kept, the oldest's first."""
    skip: Float[Tensor, "D"] | None


class FilterStep(NamedTuple):
    """Of those what is the long filter's."""

    lam: Float[Tensor, "D S c"]
    read: Float[Tensor, "D M"]
    now: Float[Tensor, "D 1"]
    head: Float[Tensor, "D K_head"]


class StepState(NamedTuple):
    """What is kept; `commit` changes it in place."""

    window: Float[Tensor, "B C K_1"]
    """The last K - 1 inputs of the short convolution, the newest last."""
    kept: Float[Tensor, "B D K_head"] | None
    """The last K_head inputs of the long one."""
    modes: Float[Tensor, "B D S c"] | None
    """Float64; None where S is 0."""


class Token:
    """The step of one filter. It holds on to the weights as they were: a state does not outlive them."""

    def __init__(self, weights: StepWeights):
        """What is the same for all tokens is looked at here."""
        skip = None if weights.skip is None else weights.skip.detach()
        self._weights = weights._replace(taps=weights.taps.detach(), bias=weights.bias.detach(), skip=skip)
        self._dtype = weights.taps.dtype
        taps, bias, lam, read, now, head, skip = self._weights
        self._native = (
            taps.device.type == "cpu"
            and self._dtype in (torch.float32, torch.float64)
            and kernel.available()
            and all(t.dtype == self._dtype and t.is_contiguous() for t in (taps, bias, now, head, skip) if t is not None)
            and all(t.dtype == torch.float64 and t.is_contiguous() for t in (lam, read))
        )
        self._sizes = len(lam), taps.shape[1], *lam.shape[1:], head.shape[1]
        self._addresses = tokens.addresses(self._weights) if self._native else []

    def peek(self, x: Float[Tensor, "B C"], state: StepState) -> tuple[Tensor, Tensor] | None:
        """(y, u), each (B, D), of one token x; None where the kernel cannot read these as they are. For inference."""
        if not self._fits(x, state):
            return None
        u = x.new_empty(len(x), self._sizes[0])
        y = torch.empty_like(u)
        tokens.peek(self._call(len(x), state, x, u, y), self._dtype)
        return y, u

    def commit(self, x: Float[Tensor, "B C"], u: Float[Tensor, "B D"], state: StepState) -> bool:
        """Take in x and u, as `peek` had and gave them; False, and nothing done, where the kernel cannot."""
        if not (self._fits(x, state) and u.dtype == self._dtype and u.is_contiguous()):
            return False
        tokens.commit(self._call(len(x), state, x, u, None), self._dtype)
        return True

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Of the same weights, where they are."""
        return self

    def within(self, x: Float[Tensor, "B 1 D"], state: StepState) -> tokens.Step | None:
        """What the kernel takes of a token that is in a block, which x (B, 1, D) enters; None where it cannot."""
        return self._call(len(x), state, None, None, None) if self._fits(x, state) else None

    def _call(self, B: int, state: StepState, *io: Tensor | None) -> tokens.Step:
        """The arguments of the kernel; io: x, u and y."""
        return tokens.Step(B, *self._sizes, torch.get_num_threads(), *self._addresses, *tokens.addresses((*state, *io)))

    def _fits(self, x: Tensor, state: StepState) -> bool:
        """Whether the kernel reads all as it is: contiguous, in one dtype beside the float64 of the modes."""
        window, kept, modes = state
        return (
            self._native
            and x.dtype == window.dtype == self._dtype
            and x.device == window.device == self._weights.taps.device
            and x.is_contiguous()
            and window.is_contiguous()
            and (modes is None or (modes.dtype == torch.float64 and modes.is_contiguous()))
            and (kept is None or (kept.dtype == self._dtype and kept.is_contiguous()))
        )
