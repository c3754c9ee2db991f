"""The contract of a sequence mixer. A protocol, not a base class: a mixer is any module that keeps these promises.

What a mixer remembers is a function of what each token added to it. So a chunk is read in two steps: `peek` computes its
outputs and what it would add, and changes nothing; `commit` adds it, whole or the first tokens of it. `extend` is both.
"""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyena.errors import HyenaError
from hyena.ops.decoding import Decoding
from hyena.ops.tree import State


@runtime_checkable
class Mixer(Protocol):
    """Maps (B, L, D) to (B, L, D), causally: output t depends on inputs 0 .. t only."""

    def forward(self, x: Tensor) -> Tensor:
        """x (B, L, D) -> (B, L, D)."""
        ...

    def init_state(self, batch_size: int, max_length: int | None = None, decoding: Decoding = "auto") -> Any:
        """The state of `batch_size` rows of which nothing was read.

        max_length: tokens that a row will have at most; given, buffers have their final size from the beginning.
        """
        ...

    def peek(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Outputs of x (B, n, D), n >= 1, that follows what the state has read, and what `commit` takes. Changes nothing."""
        ...

    def commit(self, state: Any, new: Any, lengths: Tensor | None = None) -> None:
        """Add what `peek` returned to the state, in place; of row b the first lengths[b] tokens only."""
        ...

    def extend(self, x: Tensor, state: Any, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """`forward` of a chunk x (B, n, D) after what the state has read, and the state after it; consumes the old one.

        lengths (B,): row b has lengths[b] tokens and padding on the right; outputs there mean nothing.
        """
        ...

    def flops(self, L: int) -> int:
        """Floating-point operations of one forward over one sequence of L tokens; a multiply-add counts 2."""
        ...

    def state_bytes(self, L: int, decoding: Decoding = "auto") -> int:
        """Bytes of the state of one sequence of L tokens, begun with max_length = L."""
        ...

    def bounded(self) -> bool:
        """Whether sequences longer than max_length are an error."""
        ...

    def check_length(self, L: int) -> None:
        """Raise `HyenaError` where a sequence of L tokens cannot be read."""
        ...

    def resized(self, length: int) -> None:
        """Interpolate whatever is tied to max_length onto a grid of `length` tokens, in place."""
        ...


class Streamed:
    """`extend` for a mixer that has `peek` and `commit`."""

    @torch.no_grad()
    def extend(
        self: Mixer, x: Float[Tensor, "B L D"], state: Any, lengths: Int[Tensor, "B"] | None = None
    ) -> tuple[Float[Tensor, "B L D"], Any]:
        """See `Mixer.extend`. Without gradient."""
        check_lengths(lengths, x.shape[0], x.shape[1])
        if lengths is not None:  # a transform would spread the rounding errors of whatever stands in the padding
            x = x.masked_fill(torch.arange(x.shape[1], device=x.device)[:, None] >= lengths[:, None, None], 0)
        moved: State = state.taken()
        y, new = self.peek(x, moved)
        self.commit(moved, new, lengths)
        return y, moved


def check_lengths(lengths: Tensor | None, B: int, L: int) -> None:
    """One clear line for lengths that are not one number of tokens a row."""
    if lengths is None:
        return
    if not isinstance(lengths, Tensor):
        raise HyenaError(f"lengths is a {type(lengths).__name__}: a tensor of {B} whole numbers is needed")
    if lengths.shape != (B,) or lengths.is_floating_point() or int(lengths.min()) < 0 or int(lengths.max()) > L:
        raise HyenaError(f"lengths is {lengths.tolist()}: {B} whole numbers from 0 to {L} are needed, one a row")
