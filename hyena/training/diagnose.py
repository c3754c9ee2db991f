"""Which module was the first to produce a number that is not finite: a run that blows up says where."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def first_nonfinite(model: nn.Module, loss: Callable[[], Tensor]) -> str:
    """Run loss() again, forward and backward, and name the place where the first NaN or infinity arose.

    Weights are looked at first, then the outputs of the modules in the order in which they are computed (an inner module is
    done before the one around it), then the gradients in the order in which they arrive. Gradients are left as they were.
    """
    if broken := broken_tensor(model):
        return f"{broken} is not finite: an earlier step has broken it"
    found: dict[str, str] = {}
    hooks = [module.register_forward_hook(_watch(name, type(module).__name__, found)) for name, module in model.named_modules()]
    gradients = [parameter.grad for parameter in model.parameters()]
    try:
        model.zero_grad(set_to_none=True)
        value = loss()
        if "forward" in found:
            return found["forward"]
        if not _finite(value):
            return "every module's output is finite and the loss over the logits is not"
        value.backward()
        if "backward" in found:
            return found["backward"]
        names = [name for name, p in model.named_parameters() if p.grad is not None and not _finite(p.grad)]
        return f"the gradient of {names[-1]} is the first that is not finite" if names else "the same batch is finite now"
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient


def broken_tensor(model: nn.Module) -> str:
    """The first weight or buffer with a number that is not finite, by name; empty where all are finite."""
    for kind, tensors in (("weight", model.named_parameters()), ("buffer", model.named_buffers())):
        for name, tensor in tensors:
            if not _finite(tensor):
                return f"the {kind} {name}"
    return ""


def _watch(name: str, kind: str, found: dict[str, str]) -> Callable[[nn.Module, Any, Any], None]:
    """A forward hook that notes the first output, and the first gradient of an output, that is not finite."""
    where = f"{name} ({kind})" if name else f"the model ({kind})"

    def look(_: nn.Module, __: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        if not _finite(output):
            found.setdefault("forward", f"{where} is the first module whose output is not finite")
        if output.requires_grad:
            output.register_hook(arrived)

    def arrived(gradient: Tensor) -> None:
        if not _finite(gradient):
            found.setdefault("backward", f"the gradient that reaches the output of {where} is the first that is not finite")

    return look


def _finite(tensor: Tensor) -> bool:
    """Whether every number is finite."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor.detach()).all())
