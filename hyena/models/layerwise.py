"""A backbone over sequences of any length, layer by layer, in place on one residual stream and in bounded memory.

`Backbone.forward` holds every activation of a layer for the whole sequence. Here norms, projections and MLPs take the rows of
the stream a few at a time, and a Hyena takes all tokens of a few channels at a time (`modules/hyena_long.py`); what stands
whole is the stream (B L, D) and as much again for the mixers' results. Other mixers read chunk after chunk with a state.
The same numbers to rounding, for inference.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyena.models.backbone import Backbone
from hyena.models.block import Block
from hyena.models.budget import KEPT, Budget, plan_blocks
from hyena.modules.hooks import refuse_hooks
from hyena.modules.hyena import Hyena
from hyena.modules.hyena_long import Blocks, Room, by_channels, mixed
from hyena.modules.kept import KeptFilter
from hyena.modules.layers import MLP, activate_
from hyena.modules.precision import at_least_float32
from hyena.modules.projection import plain_linear
from hyena.ops.cuts import pieces
from hyena.ops.native.calls import fresh

Report = Callable[[int, int], None]
"""Called with layers done and layers in all."""


@torch.no_grad()
def stream_of(
    backbone: Backbone,
    ids: Int[Tensor, "B L"],
    layers: int | None = None,
    max_memory: int | None = None,
    report: Report | None = None,
) -> Float[Tensor, "B L D"]:
    """The residual stream (B, L, D) after the first `layers` blocks (all where not given), before the final norm.

    The backbone must be in evaluation mode. max_memory: bytes beyond the weights that the work is cut to fit, its result
    included; `HyenaError` with the number that would do where none fits. None: as much as is fastest.
    """
    backbone._check(ids)
    refuse_hooks(m for block in backbone.layers[:layers] for m in (block, block.mixer, block.mlp))
    B, L = ids.shape
    count = len(backbone.layers) if layers is None else layers
    budget = plan_blocks(backbone, B, L, max_memory, count)
    with torch.autocast(ids.device.type, enabled=False):
        x = _embedded(backbone, ids, budget.blocks.tokens)
        room = Room()
        for i, block in enumerate(backbone.layers[:count]):
            if report is not None:
                report(i, count)
            _through(block, x, B, L, budget, room)
    if report is not None:
        report(count, count)
    return x.view(B, L, -1)


def normed(norm: torch.nn.Module, rows: Float[Tensor, "R D"]) -> Float[Tensor, "R D"]:
    """A norm of rows (R, D)."""
    return norm(rows[None])[0]


def _embedded(backbone: Backbone, ids: Tensor, tokens: int) -> Tensor:
    """The stream (B L, D) that enters the first block."""
    weight, L = backbone.embedding.weight, ids.shape[1]
    dtype = at_least_float32(weight.dtype) if backbone.config.float32_residual else weight.dtype
    flat = ids.reshape(-1)
    x = fresh(torch.empty(len(flat), weight.shape[1], dtype=dtype, device=weight.device))
    for some in pieces(len(flat), tokens):
        rows = backbone.embedding(flat[some].long())
        if backbone.positions is not None:
            rows = rows + backbone.positions.weight[torch.arange(some.start, some.stop, device=ids.device) % L]
        x[some] = rows
    return x


def _through(block: Block, x: Tensor, B: int, L: int, budget: Budget, room: Room) -> None:
    """The stream x (B L, D) through one block, in place."""
    if by_channels(block.mixer):
        _hyena(block, block.mixer, x, B, L, budget.blocks, room)
        return
    rows, state = x.view(B, L, -1), block.mixer.init_state(B, max_length=L)
    chunk = min(L, max(1, budget.piece // B))
    for some in pieces(L, chunk):
        y, state = block.mixer.extend(block.mixer_norm(rows[:, some]), state)
        part = rows[:, some] + y
        flat = part.view(-1, part.shape[-1])
        for few in pieces(len(flat), budget.blocks.tokens):
            _mlp(block, flat[few], room)
        rows[:, some] = part
    for filter in block.mixer.modules():
        if isinstance(filter, KeptFilter) and filter.kept_bytes(chunk) > KEPT:
            filter.forget()  # of all layers they would be more than the stream


def _hyena(block: Block, mixer: Hyena, x: Tensor, B: int, L: int, blocks: Blocks, room: Room) -> None:
    """A block whose mixer is worked by channels."""
    y = room.take("mixed", (x.shape[1], len(x)), mixer.in_proj.weight)
    mixed(mixer, lambda some: normed(block.mixer_norm, x[some]), B, L, blocks, room, y)
    for some in pieces(len(x), blocks.tokens):
        part = x[some]
        _add(part, mixer.out_proj, mixer.act(y[:, some]).T)
        _mlp(block, part, room)


def _mlp(block: Block, x: Tensor, room: Room) -> None:
    """Rows x (n, D) plus the MLP of their norm, in place."""
    rows, mlp = normed(block.mlp_norm, x), block.mlp
    if isinstance(mlp, MLP) and plain_linear(mlp.up_proj):
        up = mlp.up_proj
        hidden = room.take("hidden", (len(rows), up.out_features), rows)
        torch.mm(rows, up.weight.T, out=hidden)
        _add(x, mlp.down_proj, activate_(mlp.act, hidden, up.bias))
    else:
        x += mlp(rows[None])[0]


def _add(x: Tensor, linear: torch.nn.Module, rows: Tensor) -> None:
    """x (n, E) plus linear(rows (n, D)), in place; in one matrix product where the dtypes allow it."""
    if plain_linear(linear) and x.dtype == linear.weight.dtype == rows.dtype:
        x.addmm_(rows, linear.weight.T)
        if linear.bias is not None:
            x += linear.bias
    else:
        x += linear(rows[None])[0]
