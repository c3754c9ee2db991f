"""`Pair`: one tensor under its two names, with the change of layout each way; a list of pairs is read and written."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import Tensor

from hyena.checkpoints.account import Account
from hyena.errors import HyenaError


def same(tensor: Tensor) -> Tensor:
    """No change of layout."""
    return tensor


class Pair(NamedTuple):
    """A tensor of ours and the published one."""

    ours: str
    theirs: str
    undo: Callable[[Tensor], Tensor] = same
    """Theirs -> ours; a `HyenaError` that it raises goes on from the tensor's name."""
    redo: Callable[[Tensor], Tensor] = same
    """Ours -> theirs, the inverse."""


def named(ours: str, theirs: str, *kinds: str) -> list[Pair]:
    """A layer that both have, under two names: one pair for each of `weight`, `bias`, ..."""
    return [Pair(f"{ours}.{kind}", f"{theirs}.{kind}") for kind in kinds]


def read(pairs: Iterable[Pair], tensors: Account[Tensor], prefix: str) -> dict[str, Tensor]:
    """Published tensors under `prefix` -> ours."""
    ours = {}
    for pair in pairs:
        tensor = tensors.take(prefix + pair.theirs)
        try:
            ours[pair.ours] = pair.undo(tensor)
        except HyenaError as error:
            raise HyenaError(f"{tensors.source}: {prefix}{pair.theirs} {error}") from None
    return ours


def write(pairs: Iterable[Pair], values: Account[Tensor], ours: str, theirs: str) -> dict[str, Tensor]:
    """Our tensors under the prefix `ours` -> published ones under the prefix `theirs`."""
    return {theirs + pair.theirs: pair.redo(values.take(ours + pair.ours)) for pair in pairs}
