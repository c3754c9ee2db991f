"""What a stream remembers, as a tree of tensors: copied, moved, picked apart by rows and put together again as one thing.

A state is a dataclass whose fields are tensors, states, lists of states and plain values. The first axis of every tensor is
the rows of the batch. What two places of a tree share, their copies share too.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor

from hyena.errors import HyenaError


@dataclass
class State:
    """The base of every state."""

    def taken(self) -> Self:
        """The same state under a new name, for whoever will change it: the old name raises `HyenaError` from now on."""
        self.check()
        moved = object.__new__(type(self))
        moved.__dict__.update(vars(self))
        self.__dict__["_spent"] = True
        return moved

    def check(self) -> None:
        """One clear line where the state is gone."""
        if "_spent" in vars(self):
            raise HyenaError(
                "this state was consumed: go on from the one that `extend` or `commit` returned, or clone() it before the call"
            )

    def clone(self) -> Self:
        """An independent copy: what happens to one never reaches the other."""
        return self._mapped(Tensor.clone, {})

    def to(self, device: str | torch.device) -> Self:
        """A copy on a device."""
        return self._mapped(lambda t: t.to(device, copy=True), {})

    def select(self, rows: Sequence[int] | Tensor) -> Self:
        """A copy of some rows, in the order given; a row may be taken several times (to go on in several ways)."""
        index = torch.as_tensor(rows)
        if not index.numel():
            raise HyenaError("rows is empty: give a list of at least one row number")
        if index.ndim != 1 or index.dtype == torch.bool or index.is_floating_point():
            raise HyenaError(
                f"rows is {index.dtype} {tuple(index.shape)}: give a list of row numbers (mask.nonzero()[:, 0] of a mask)"
            )
        held = next((len(t) for t in self.tensors().values()), 0)
        if len(index) and not -held <= int(index.min()) <= int(index.max()) < held:
            raise HyenaError(f"rows are {index.tolist()}: the state has rows 0 .. {held - 1}")
        return self._mapped(lambda t: t[index.to(t.device)], {})

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors held; shared ones count once."""
        return sum(t.nbytes for t in {id(t): t for t in self.tensors().values()}.values())

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the tree, by the path to it."""
        return {path: getattr(state, name) for path, state, name in self._leaves("", set())}

    def assign(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `tensors`: put tensors in their places."""
        for path, state, name in list(self._leaves("", set())):
            setattr(state, name, tensors[path])

    def numbers(self) -> dict[str, int]:
        """Every whole number of the tree, by the path to it: clocks and fill levels, which belong to the tensors."""
        return {path: getattr(state, name) for path, state, name in self._leaves("", set(), int)}

    def assign_numbers(self, numbers: dict[str, int]) -> None:
        """The inverse of `numbers`."""
        for path, state, name in list(self._leaves("", set(), int)):
            setattr(state, name, numbers[path])

    @classmethod
    def cat(cls, states: Sequence[Self]) -> Self:
        """One state of the rows of several, one after the other. They must come from the same model."""
        if not states:
            raise HyenaError("there is no state to put together: give at least one")
        return cls._joined(list(states), {})

    def _children(self) -> Iterator[tuple[str, "State"]]:
        for f in fields(self):
            value = getattr(self, f.name)
            for i, item in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(item, State):
                    yield f"{f.name}.{i}" if isinstance(value, list) else f.name, item

    def _leaves(self, path: str, seen: set[int], kind: type = Tensor) -> Iterator[tuple[str, "State", str]]:
        """Every place of a value of this kind: path, the state that has it, and the field."""
        if id(self) in seen:
            return
        seen.add(id(self))
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, kind) and not isinstance(value, bool):
                yield path + f.name, self, f.name
        for name, child in self._children():
            yield from child._leaves(f"{path}{name}.", seen, kind)

    def _mapped(self, f: Callable[[Tensor], Tensor], memo: dict[int, Any]) -> Self:
        """A copy of the tree with f of every tensor; memo: the copies made so far, by what they are copies of."""
        self.check()
        if id(self) not in memo:
            copy = object.__new__(type(self))
            memo[id(self)] = copy
            copy.__dict__.update({name: _map(value, f, memo) for name, value in vars(self).items()})
        return memo[id(self)]

    @classmethod
    def _joined(cls, states: list[Any], memo: dict[int, Any]) -> Any:
        """`cat`, with what was joined so far by the first of what it was joined from."""
        first = states[0]
        for state in states:
            state.check()
        if id(first) not in memo:
            memo[id(first)] = made = object.__new__(cls)
            ready = cls._alike(states)
            values = {f.name: [getattr(state, f.name) for state in ready] for f in fields(cls)}
            made.__dict__.update(vars(ready[0]))
            made.__dict__.update({name: _join(each, memo) for name, each in values.items()})
        return memo[id(first)]

    @classmethod
    def _alike(cls, states: list[Any]) -> list[Any]:
        """The same states, so that their tensors differ in the rows alone: overridden where they may differ in more."""
        return states


def _map(value: Any, f: Callable[[Tensor], Tensor], memo: dict[int, Any]) -> Any:
    """One field of `_mapped`."""
    if isinstance(value, Tensor):
        return f(value)
    if isinstance(value, State):
        return value._mapped(f, memo)
    return [_map(item, f, memo) for item in value] if isinstance(value, list) else value


def _join(each: list[Any], memo: dict[int, Any]) -> Any:
    """One field of `_joined`."""
    first = each[0]
    if isinstance(first, Tensor):
        return torch.cat(each)
    if isinstance(first, State):
        return type(first)._joined(each, memo)
    return [_join(list(items), memo) for items in zip(*each, strict=True)] if isinstance(first, list) else first
