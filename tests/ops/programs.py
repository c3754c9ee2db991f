"""Random programs over states: what a user may do with rows of a stream, in any order, against what the inputs say.

A row of the reference is the list of its inputs; a program prefills, extends, steps, looks ahead and commits a part, forks,
admits and evicts rows. The machine under test says how each of these is done and what an output should be.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from hypothesis import strategies as st
from torch import Tensor

ACTIONS = ("extend", "step", "steps", "peek", "commit", "fork", "admit", "evict", "uneven")
CHUNKS = (1, 2, 3, 5, 17, 31, 32, 33, 63, 64, 65, 100)

Program = list[tuple[str, int, int]]


def programs(most: int = 12) -> st.SearchStrategy[Program]:
    """Actions with a size and a seed."""
    step = st.tuples(st.sampled_from(ACTIONS), st.sampled_from(CHUNKS), st.integers(0, 2**16))
    return st.lists(step, min_size=1, max_size=most)


class Machine(Protocol):
    """What a program runs on."""

    def begin(self, rows: int) -> object:
        """A state of no inputs."""

    def inputs(self, rows: int, n: int, generator: torch.Generator) -> Tensor:
        """Random inputs (rows, n, ...)."""

    def peek(self, state: object, x: Tensor) -> tuple[Tensor, object]:
        """Outputs (rows, n, ...) and what `commit` takes."""

    def commit(self, state: object, draft: object, lengths: Tensor | None) -> object:
        """The state after a draft."""

    def extend(self, state: object, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, object]:
        """Outputs, and the state after."""

    def check(self, past: Tensor, n: int, y: Tensor) -> None:
        """Assert that y (n, ...) are the last outputs of the row whose inputs, these n included, are `past`."""


def run(machine: Machine, program: Program, rows: int, longest: int) -> None:
    """Run a program on a machine, every output checked."""
    generator = torch.Generator().manual_seed(len(program))
    state, seen = machine.begin(rows), [None] * rows

    def fed(x: Tensor, row: int, n: int) -> Tensor:
        new = x[row, :n]
        return new if seen[row] is None else torch.cat([seen[row], new])

    def feed(x: Tensor, lengths: Tensor | None, step: Callable[[object, Tensor, Tensor | None], tuple[Tensor, object]]) -> None:
        nonlocal state, seen
        y, state = step(state, x, lengths)
        counts = [x.shape[1]] * len(seen) if lengths is None else lengths.tolist()
        for row, count in enumerate(counts):
            if count:
                machine.check(fed(x, row, count), count, y[row, :count])
        seen = [fed(x, row, count) if count else seen[row] for row, count in enumerate(counts)]

    def one_by_one(state: object, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, object]:
        ys = []
        for t in range(x.shape[1]):
            y, state = machine.extend(state, x[:, t : t + 1], None)
            ys.append(y)
        return torch.cat(ys, 1), state

    for action, n, seed in program:
        generator.manual_seed(seed)
        room = longest - max(len(s) if s is not None else 0 for s in seen)
        if action in ("extend", "step", "steps", "peek", "commit", "uneven"):
            n = min(n, room)
            if n < 1:
                continue
        some = torch.randint(0, len(seen), (1 + seed % 3,), generator=generator)
        x = machine.inputs(len(seen), 1 if action == "step" else max(n, 1), generator)
        if action == "extend":
            feed(x, None, machine.extend)
        elif action in ("step", "steps"):
            feed(x, None, one_by_one)
        elif action == "uneven":
            feed(x, torch.randint(0, n + 1, (len(seen),), generator=generator), machine.extend)
        elif action == "peek":
            y, _ = machine.peek(state, x)
            for row in range(len(seen)):
                machine.check(fed(x, row, n), n, y[row])
        elif action == "commit":
            accepted = int(torch.randint(0, n + 1, (), generator=generator))
            lengths = torch.full((len(seen),), accepted)
            if seed % 2:
                lengths = torch.randint(0, n + 1, (len(seen),), generator=generator)

            def drafted(state: object, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, object]:
                y, draft = machine.peek(state, x)
                return y, machine.commit(state, draft, lengths)

            feed(x, lengths, drafted)
        elif action == "fork" and len(seen) < 5:
            twin = state.select(some)
            state = type(state).cat([state, twin])
            seen = seen + [seen[i] for i in some.tolist()]
        elif action == "admit" and len(seen) < 5:
            other, before = machine.begin(1), seen
            state, seen, kept = other, [None], state
            feed(machine.inputs(1, min(n, longest), generator), None, machine.extend)
            order = [kept, state] if seed % 2 else [state, kept]
            state = type(state).cat(order)
            seen = before + seen if seed % 2 else seen + before
        elif action == "evict" and len(seen) > 1:
            some = torch.randperm(len(seen), generator=generator)[:-1]
            state, seen = state.select(some), [seen[i] for i in some.tolist()]
