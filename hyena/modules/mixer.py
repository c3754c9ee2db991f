"""The contract of a sequence mixer. A protocol, not a base class: a mixer is any module that keeps these promises."""

from typing import Protocol

from torch import Tensor


class Mixer(Protocol):
    """Maps (B, L, D) to (B, L, D), causally: output t depends on inputs 0 .. t only."""

    def forward(self, x: Tensor) -> Tensor:
        """x (B, L, D) -> (B, L, D)."""
        ...

    def flops(self, L: int) -> int:
        """Floating-point operations of one forward over one sequence of L tokens; a multiply-add counts 2."""
        ...

    def state_bytes(self, L: int) -> int:
        """Bytes that one sequence must keep after L tokens to go on exactly, in the model's dtype."""
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
