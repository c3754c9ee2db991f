"""Which blocks take single tokens by one call of the compiled kernel: those in which nothing but the plain arithmetic happens.

A hook, an adapter around a projection, a `forward` put in place of another: whatever a user may hang into a block runs, because
such a block goes the ordinary way, also where it was hung there in the middle of a stream.
"""

from typing import Any, Self

from torch import Tensor, nn

from hyena.models.block import Block
from hyena.modules import GatedConv, Hyena
from hyena.modules.explicit_filter import ExplicitFilter
from hyena.modules.filters import ImplicitFilter
from hyena.modules.hooks import global_hooks
from hyena.modules.layers import MLP, GatedMLP, LayerNorm, OutsideRMSNorm, RMSNorm, activation
from hyena.modules.modal_filter import CartesianFilter, ModalFilter
from hyena.modules.real_modal import LogPoleFilter, RateFilter
from hyena.modules.short_conv import ShortConv
from hyena.ops import kernel
from hyena.ops.gated_block import BlockWeights, LinearWeights, NormWeights, TokenBlock, readable

_FILTERS = (ImplicitFilter, ModalFilter, CartesianFilter, ExplicitFilter, LogPoleFilter, RateFilter)
_NORMS = (LayerNorm, RMSNorm, OutsideRMSNorm)
_PLAIN = (Block, Hyena, GatedConv, *_FILTERS, ShortConv, nn.Linear, nn.Dropout, *_NORMS, MLP, GatedMLP)


class PlainBlock:
    """A block that was plain when the stream began, and what tells whether it still is."""

    def __init__(self, block: Block, taken: TokenBlock):
        """taken: its way to take a token."""
        self._taken = taken
        modules = _modules(block)
        self._children = [(m._modules, name, child) for m in modules for name, child in m._modules.items()]
        self._hooks = [hooks for m in modules for hooks in (m._forward_pre_hooks, m._forward_hooks)]
        self._own = [vars(m) for m in modules]
        self._acts = [(m, m.act) for m in modules if isinstance(m, (Hyena, MLP, GatedMLP))]

    def extend(self, x: Tensor, layer: Any) -> Tensor | None:
        """The stream (B, 1, D) after the block, whose mixer's state takes the token in; None, and nothing done, otherwise."""
        if any(self._hooks) or global_hooks() or any("forward" in own for own in self._own):
            return None
        replaced = any(m.act is not act for m, act in self._acts)
        if replaced or any(table[name] is not child for table, name, child in self._children):
            return None
        state = layer.before()
        y = self._taken.extend(x, state)
        if y is not None:
            layer.after(state)
        return y

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A state's copy is of the same block."""
        return self


def plain_block(block: Block, layer: Any) -> PlainBlock | None:
    """The short way of a block and the state `layer` of its mixer; None where there is none but the ordinary one."""
    mixer, mlp = block.mixer, block.mlp
    if not kernel.available() or any(type(m) not in _PLAIN for m in _modules(block)):
        return None
    if not isinstance(mixer, (GatedConv, Hyena)) or layer.token is None or (mlp_weights := _mlp(mlp)) is None:
        return None
    if mlp.act is not activation(mlp.activation) or (isinstance(mixer, Hyena) and mixer.act is not activation("identity")):
        return None
    weights = BlockWeights(
        _norm(block.mixer_norm), _linear(mixer.in_proj), _linear(mixer.out_proj), _norm(block.mlp_norm), *mlp_weights
    )
    return PlainBlock(block, TokenBlock(weights, layer.token)) if readable(weights) else None


def _modules(block: Block) -> list[nn.Module]:
    """What takes part in a token: all but what a filter is made of, which made its taps when the stream began."""
    made = [m for filter in block.modules() if isinstance(filter, _FILTERS) for m in filter.modules() if m is not filter]
    return [m for m in block.modules() if all(m is not other for other in made)]


def _mlp(mlp: nn.Module) -> tuple[LinearWeights | None, LinearWeights, LinearWeights, str] | None:
    """Gate, up, down and the name of the activation."""
    if isinstance(mlp, MLP):
        return None, _linear(mlp.up_proj), _linear(mlp.down_proj), mlp.activation
    if isinstance(mlp, GatedMLP):
        return _linear(mlp.gate_proj), _linear(mlp.up_proj), _linear(mlp.down_proj), mlp.activation
    return None


def _norm(norm: LayerNorm | RMSNorm) -> NormWeights:
    return NormWeights(
        norm.weight, norm.bias if isinstance(norm, LayerNorm) else None, norm.eps, isinstance(norm, OutsideRMSNorm)
    )


def _linear(linear: nn.Module) -> LinearWeights:
    assert isinstance(linear, nn.Linear)
    return LinearWeights(linear.weight, linear.bias)
