"""One table reads and writes: each tensor once, each change undone."""

import torch

from hyena.checkpoints.account import Account
from hyena.checkpoints.pairs import Pair, named, read, write
from hyena.errors import HyenaError
from tests.helpers import refused

PAIRS = [*named("up", "fc1", "weight", "bias"), Pair("z", "pos.z", lambda z: z.squeeze(0), lambda z: z.unsqueeze(0))]
THEIRS = {"a.fc1.weight": torch.randn(2, 3), "a.fc1.bias": torch.randn(2), "a.pos.z": torch.randn(1, 4)}


def test_reading_and_writing_are_inverse():
    tensors = Account(THEIRS, "file")
    ours = read(PAIRS, tensors, "a.")
    tensors.close()
    assert {name: tuple(tensor.shape) for name, tensor in ours.items()} == {"up.weight": (2, 3), "up.bias": (2,), "z": (4,)}
    values = Account({f"b.{name}": tensor for name, tensor in ours.items()}, "model")
    again = write(PAIRS, values, "b.", "a.")
    values.close()
    assert again.keys() == THEIRS.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in THEIRS.items())


def test_a_tensor_that_is_not_there_is_named_on_both_sides():
    with refused("file lacks c.fc1.weight"):
        read(PAIRS, Account(THEIRS, "file"), "c.")
    with refused("model lacks c.up.weight"):
        write(PAIRS, Account(THEIRS, "model"), "c.", "a.")


def test_a_change_that_is_impossible_names_the_tensor():
    def undo(tensor: torch.Tensor) -> torch.Tensor:
        raise HyenaError("is bent: straighten it")

    with refused("file: a.pos.z is bent: straighten it"):
        read([Pair("z", "pos.z", undo)], Account(THEIRS, "file"), "a.")
