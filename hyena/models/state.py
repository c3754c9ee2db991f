"""The state of a whole model: what every layer remembers, how far each row is, and of which weights it is."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hyena.errors import HyenaError
from hyena.models.store import read_safetensors, write_safetensors
from hyena.ops.tree import State

FORMAT = "hyena-state-1"


@dataclass
class ModelState(State):
    """A tree of tensors: `clone`, `to`, `select`, `cat`, `nbytes`, `save`; rows may be at different positions.

    `extend` consumes the state that it is given.
    """

    position: Tensor
    """(B,): tokens read of each row."""
    layers: list[Any]
    """What the mixers remember, from the first layer on. The long convolutions of all layers share one memory."""
    weights: tuple[tuple[int, int], ...]
    """Where the model's tensors are and how often they were changed in place: a state does not outlive its weights."""
    begun: dict[str, Any]
    """How `init_state` was called."""
    fingerprint: Callable[[], str]
    """Of the model's configuration and weights."""
    plain: list[Any] = field(default_factory=list)
    """Of each layer the short way of a single token, or None; see `models/token_block.py`."""
    read_up_to: int = 0
    """Tokens up to which the model is known to read a row: asked once, and not for every token."""

    @property
    def rows(self) -> int:
        """B."""
        return len(self.position)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, whole or not at all. It carries a fingerprint of the model."""
        self.check()
        path = Path(path)
        facts = {
            "format": FORMAT,
            "fingerprint": self.fingerprint(),
            "rows": self.rows,
            **self.begun,
            "numbers": self.numbers(),
        }
        if not path.parent.is_dir():
            raise HyenaError(f"{path.parent} is no directory: make it, or save the state elsewhere")
        if path.is_dir():
            raise HyenaError(f"{path} is a directory: name a file for the state")
        partial = path.with_name(path.name + ".partial")
        tensors = {name: tensor.contiguous().cpu() for name, tensor in self.tensors().items()}
        try:
            write_safetensors(tensors, partial, {"state": json.dumps(facts)})
            partial.replace(path)
        except OSError as error:
            raise HyenaError(f"cannot save to {path}: {error.strerror or error}; make room or choose another place") from None
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def _alike(cls, states: list[Self]) -> list[Self]:
        """Of one model only."""
        if any(state.weights != states[0].weights for state in states):
            raise HyenaError("states of different models, or of one model's different weights, cannot be put together")
        return states


@dataclass
class Draft:
    """Tokens looked at and not yet read: what `commit` takes. The state it was made from is unchanged."""

    state: ModelState
    new: list[Any]
    """What each mixer would remember."""
    tokens: int
    """n: of each row."""


def load_state(path: str | Path, begin: Callable[..., ModelState]) -> ModelState:
    """What `ModelState.save` wrote, for the same model; begin: its `init_state`. `HyenaError` where it belongs to another."""
    tensors, metadata = read_safetensors(Path(path))
    facts = json.loads(metadata.get("state", "{}"))
    if facts.get("format") != FORMAT:
        raise HyenaError(f"{path} is not a saved state of this version ({FORMAT}): read the tokens again")
    state = begin(facts["rows"], facts["max_length"], facts["decoding"])
    if facts["fingerprint"] != state.fingerprint():
        raise HyenaError(f"{path} is the state of another model or of other weights: load the model that it was saved with")
    missing = sorted(state.tensors().keys() - tensors.keys())
    if missing:
        raise HyenaError(f"{path} lacks {missing[0]}: it is damaged, or of another version")
    state.assign({name: tensor.to(state.position.device) for name, tensor in tensors.items()})
    state.assign_numbers(facts["numbers"])
    return state


Places = list[tuple[Mapping[str, Tensor | None], str]]
"""Where a model keeps its tensors: dictionaries of its modules, and names in them."""


def places_of(model: nn.Module) -> Places:
    """The places of every parameter and buffer of a model."""
    tables: list[Mapping[str, Tensor | None]] = []
    for module in model.modules():
        tables += [module._parameters, module._buffers]
    return [(table, name) for table in tables for name, tensor in table.items() if tensor is not None]


def versions(places: Places) -> tuple[tuple[int, int], ...]:
    """Address and version of every tensor: changes in place and replacements are seen, in microseconds.

    Writing through `.data` alone escapes it, for as long as a stream lasts: the next `init_state` compares values.
    """
    tensors = [table[name] for table, name in places]
    return tuple((0, 0) if t is None else (t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)


def fingerprint(model: nn.Module, config: dict[str, Any]) -> str:
    """SHA-256 of a configuration and of every tensor's name, dtype, shape and bytes."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def hidden_beyond(x: Float[Tensor, "B L D"], lengths: Tensor | None) -> Float[Tensor, "B L D"]:
    """x with NaN where a row has no token: a number from there would be wrong and look right."""
    if lengths is None or int(lengths.min()) == x.shape[1]:
        return x
    return x.masked_fill(torch.arange(x.shape[1], device=x.device)[:, None] >= lengths[:, None, None], torch.nan)
