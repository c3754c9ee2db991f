"""Linear maps between modules, (B, L, D), and convolutions, (B, D, L), without a transpose in memory."""

from typing import TypeGuard

from jaxtyping import Float
from torch import Tensor, nn


def plain_linear(linear: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether its weight and bias are all that it does: no subclass, no hook, no `forward` put in place of its own."""
    hooks = (linear._forward_pre_hooks, linear._forward_hooks, linear._backward_pre_hooks, linear._backward_hooks)
    return type(linear) is nn.Linear and "forward" not in vars(linear) and not any(hooks)


def channels_first(linear: nn.Module, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B E L"]:
    """linear(x) as (B, E, L), each channel a contiguous row, by one matrix product over all sequences.

    linear: any module (B, L, D) -> (B, L, E). A plain `nn.Linear` without hooks is computed with its factors swapped; anything
    else, such as an adapter around one, is called as it is and its result transposed.
    """
    if x.shape[1] == 1 or not plain_linear(linear):  # one token has no rows to lay out
        return linear(x).transpose(1, 2)
    y, bias = channels_first_apart(linear, x)
    return y if bias is None else y.add_(bias[:, None])


def channels_first_apart(linear: nn.Module, x: Float[Tensor, "B L D"]) -> tuple[Float[Tensor, "B E L"], Tensor | None]:
    """The same without its bias, and the bias (E,) for whoever reads the result to add: it costs a pass over memory here."""
    if not plain_linear(linear):
        return channels_first(linear, x), None
    B, L, D = x.shape
    return (linear.weight @ x.reshape(B * L, D).T).unflatten(1, (B, L)).transpose(0, 1), linear.bias


def channels_last(linear: nn.Module, y: Float[Tensor, "B D L"]) -> Float[Tensor, "B L E"]:
    """linear of the channels of y (B, D, L): (B, L, E). Rows as `channels_first` lays them out are not copied."""
    B, D, L = y.shape
    if L == 1:
        return linear(y.transpose(1, 2))
    return linear(y.transpose(0, 1).reshape(D, B * L).T).unflatten(0, (B, L))
