"""Where to compute."""

import torch

from hyena.errors import HyenaError


def device_for(name: str) -> torch.device:
    """`auto`, or what PyTorch calls a device; `HyenaError` where it has none of that name."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()  # `meta` has names for tensors and no numbers in them
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise HyenaError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}; try cpu") from None
