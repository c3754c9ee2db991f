"""Hooks of modules that a stream does not call: it calls their `peek` where the whole forward calls `forward`."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hyena.errors import HyenaError


def hooked(module: nn.Module) -> bool:
    """Whether something is called around a module's forward, or in place of it."""
    return bool(module._forward_pre_hooks or module._forward_hooks or "forward" in vars(module) or global_hooks())


def global_hooks() -> bool:
    """Whether PyTorch calls something around every module."""
    of_all = torch.nn.modules.module
    return bool(of_all._global_forward_hooks or of_all._global_forward_pre_hooks)


def peeked(module: Any, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """module.peek(x, state) as its forward would be called: between its hooks, which see the chunk and its outputs.

    Raises `HyenaError` where `forward` itself was replaced: what stands there knows no state.
    """
    if not hooked(module):
        return module.peek(x, state)
    _refuse_replaced(module)
    new: list[Any] = []

    def forward(x: Tensor) -> Tensor:
        y, added = module.peek(x, state)
        new.append(added)
        return y

    return _called_as(module, forward, x), new[-1]


def _called_as(module: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """module(x) with another `forward` for this call."""
    module.forward = forward
    try:
        return module(x)
    finally:
        del module.forward


def _refuse_replaced(module: nn.Module) -> None:
    if "forward" in vars(module):
        raise HyenaError(
            f"the forward of a {type(module).__name__} was replaced, and a stream has another: put it inside a module"
        )


def refuse_hooks(modules: Iterable[nn.Module]) -> None:
    """One clear line for hooks on modules that work layer by layer does not call as a whole."""
    for module in modules:
        if hooked(module):
            raise HyenaError(
                f"a {type(module).__name__} has a hook, which does not run where a model is worked layer by layer: take it off "
                "or use model(ids) or model.extend"
            )
