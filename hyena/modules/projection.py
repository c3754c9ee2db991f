"""Linear maps between modules, (B, L, D), and convolutions, (B, D, L), without a transpose in memory."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def channels_first(linear: nn.Module, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B E L"]:
    """linear(x) as (B, E, L), each channel a contiguous row, by one matrix product over all sequences.

    linear: any module (B, L, D) -> (B, L, E). A plain `nn.Linear` without hooks is computed with its factors swapped; anything
    else, such as an adapter around one, is called as it is and its result transposed.
    """
    if type(linear) is not nn.Linear or linear._forward_hooks or linear._forward_pre_hooks:
        return linear(x).transpose(1, 2)
    B, L, D = x.shape
    columns = x.reshape(B * L, D).T
    bias = linear.bias
    y = linear.weight @ columns if bias is None else torch.addmm(bias[:, None], linear.weight, columns)
    return y.view(-1, B, L).transpose(0, 1)


def channels_last(linear: nn.Module, y: Float[Tensor, "B D L"]) -> Float[Tensor, "B L E"]:
    """linear of the channels of y (B, D, L): (B, L, E). Rows as `channels_first` lays them out are not copied."""
    B, D, L = y.shape
    return linear(y.transpose(0, 1).reshape(D, B * L).T).view(B, L, -1)
