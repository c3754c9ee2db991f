"""`Float32Module`: a module whose tensors never fall below float32, whatever the model around it is cast to.

bfloat16 keeps 8 bits: the 1,000th and the 1,001st point of a time grid become one. So `model.bfloat16()` and
`model.to(torch.float16)` leave such a module's parameters and buffers in float32; `model.double()` makes them float64.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Float32Module(nn.Module):
    """Base of modules that compute filters, grids and frequencies."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Float32Module":
        """What `.to`, `.half`, `.cuda` and the like call on every tensor: take the device, not the half precision."""

        def keep(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if moved.dtype in (torch.float16, torch.bfloat16) and tensor.dtype in (torch.float32, torch.float64):
                return tensor.to(device=moved.device, dtype=torch.float32)
            return moved

        return super()._apply(keep, recurse)

    def widen(self) -> None:
        """Raise half-precision tensors, as a file may hold them, to float32, in place."""
        super()._apply(lambda tensor: tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor)


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """float64 stays, everything below computes in float32."""
    return torch.promote_types(dtype, torch.float32)
