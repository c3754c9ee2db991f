"""The models that users build: a backbone under a language-model head or a classifier, with saving and costs."""

import copy
from pathlib import Path
from typing import Literal, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError
from hyena.models import store
from hyena.models.backbone import Backbone
from hyena.models.init import initialise
from hyena.models.published import Published
from hyena.models.state import Draft, ModelState, load_state
from hyena.ops.decoding import Decoding

Pool = Literal["mean", "last", "first", "sum"]


class Model(nn.Module):
    """What both heads share.

    Attributes: `config`, `backbone`, `tokenizer_file` (the file of a `file:NAME` tokenizer), `published` (what the checkpoint
    that it was loaded from has beside our weights, saved with it so that it can be written as it was).
    """

    kind: str

    def __init__(self, config: ModelConfig):
        """Build the backbone; the subclass adds its head and initialises."""
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.tokenizer_file: Path | None = None
        self.published: Published | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.backbone.embedding.weight.device

    def head_options(self) -> dict[str, int | str | bool]:
        """What the constructor takes beside the configuration, for config.json."""
        return {}

    def flops(self, L: int) -> int:
        """Operations of one forward over one sequence of L tokens (a multiply-add counts 2); the head is added by it."""
        return sum(block.flops(L) for block in self.backbone.layers)

    def state_bytes(self, L: int, decoding: Decoding = "auto") -> int:
        """Bytes of the state of one sequence of L tokens, begun with max_length = L."""
        return self.backbone.state_bytes(L, decoding)

    def parameter_count(self) -> int:
        """Trainable numbers; tied ones count once."""
        return sum(p.numel() for p in self.parameters())

    def resized(self, max_length: int) -> Self:
        """A new model whose filters are stretched onto a grid of `max_length` tokens. The filters change: train or check."""
        if max_length < 1:
            raise HyenaError(f"max_length is {max_length}: use a whole number of at least 1")
        model = copy.deepcopy(self)
        for block in model.backbone.layers:
            block.mixer.resized(max_length)
        model.config = model.backbone.config = self.config.replace(max_length=max_length)
        return model

    def save(self, directory: str | Path) -> None:
        """Write config.json, model.safetensors (sharded when large) and the tokenizer's file; nothing is left half-written."""
        store.save(self, Path(directory))


class LanguageModel(Model):
    """Next-token prediction over V = `config.rows` symbols."""

    kind = "language-model"

    def __init__(self, config: ModelConfig):
        """A freshly initialised model (see `models/init.py`)."""
        super().__init__(config)
        self.lm_head = None if config.tied else nn.Linear(config.width, config.rows, bias=False)
        initialise(self, config)

    def forward(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B L V"]:
        """Logits (B, L, V) of ids (B, L): row t predicts token t + 1 and depends on tokens 0 .. t."""
        return self.logits(self.backbone(ids))

    def init_state(self, batch_size: int, max_length: int | None = None, decoding: Decoding = "auto") -> ModelState:
        """The state of `batch_size` rows of which nothing was read: what `extend` goes on from.

        max_length: tokens that a row will have at most; none given, buffers grow as they must. decoding: the engine of the long
        convolutions: "cached", "tiled", "epoched", or "auto" (see `hyena.ops.decoding`); all give the same numbers.
        """
        return self.backbone.init_state(batch_size, max_length, decoding)

    @torch.no_grad()
    def extend(
        self, ids: Int[Tensor, "B L"], state: ModelState, lengths: Int[Tensor, "B"] | None = None
    ) -> tuple[Float[Tensor, "B L V"], ModelState]:
        """Logits of a chunk of ids (B, n), n >= 1, after what the state has read, and the state after it. No gradient.

        model.extend(chunk, state) == model(ids)[:, chunk] for every way to split ids into chunks. The state given is consumed:
        go on from the one returned. lengths (B,): row b has lengths[b] tokens, 0 .. n, then padding; logits there are NaN.
        """
        hidden, state = self.backbone.extend(ids, state, lengths)
        return self.logits(hidden), state

    @torch.no_grad()
    def peek(self, ids: Int[Tensor, "B L"], state: ModelState) -> tuple[Float[Tensor, "B L V"], Draft]:
        """Logits of ids that might follow, and the draft of them: the state stays as it is and can be used again.

        What speculative decoding needs: look at drafted tokens, then `commit` those that are accepted.
        """
        hidden, draft = self.backbone.peek(ids, state)
        return self.logits(hidden), draft

    def commit(self, draft: Draft, lengths: Int[Tensor, "B"] | None = None) -> ModelState:
        """The state after a draft's tokens, of row b after the first lengths[b]. Consumes the state that was looked at from."""
        return self.backbone.commit(draft, lengths)

    def load_state(self, path: str | Path) -> ModelState:
        """What `state.save(path)` wrote. `HyenaError` where it is the state of another model or of other weights."""
        return load_state(path, self.init_state)

    def flops(self, L: int) -> int:
        """Blocks and head."""
        return super().flops(L) + 2 * L * self.config.width * self.config.rows

    def logits(self, hidden: Float[Tensor, "B L D"]) -> Float[Tensor, "B L V"]:
        """The head on hidden states (B, L, D)."""
        weight = self.backbone.embedding.weight if self.lm_head is None else self.lm_head.weight
        return F.linear(hidden, weight)


class Classifier(Model):
    """One label a sequence: hidden states are pooled over the sequence's own tokens, then mapped to the classes."""

    kind = "classifier"

    def __init__(self, config: ModelConfig, classes: int = 2, pool: Pool = "mean", bias: bool = True):
        """classes: labels; pool: `mean`, `last`, `first` or `sum` over a sequence's tokens."""
        super().__init__(config)
        if classes < 1 or pool not in ("mean", "last", "first", "sum"):
            raise HyenaError(f"classes is {classes} and pool {pool!r}: use at least 1, and mean, last, first or sum")
        self.classes, self.pool = classes, pool
        self.score = nn.Linear(config.width, classes, bias=bias)
        initialise(self, config)

    def head_options(self) -> dict[str, int | str | bool]:
        """The constructor's arguments."""
        return {"classes": self.classes, "pool": self.pool, "bias": self.score.bias is not None}

    def forward(self, ids: Int[Tensor, "B L"], lengths: Int[Tensor, "B"] | None = None) -> Float[Tensor, "B C"]:
        """Class logits (B, classes) of ids (B, L). lengths (B,): the tokens of each row, which is padded on the right."""
        return self.logits(self.backbone(ids), lengths)

    def flops(self, L: int) -> int:
        """Blocks and head."""
        return super().flops(L) + 2 * self.score.weight.numel()

    def logits(self, hidden: Float[Tensor, "B L D"], lengths: Int[Tensor, "B"] | None = None) -> Float[Tensor, "B C"]:
        """Pool hidden states (B, L, D) over the first `lengths` positions of each row, and classify."""
        return self.score(pooled(hidden, self.pool, lengths))


def pooled(hidden: Float[Tensor, "B L D"], pool: Pool, lengths: Int[Tensor, "B"] | None = None) -> Float[Tensor, "B D"]:
    """One vector a row, over its first `lengths` positions; all where not given."""
    B, L, _ = hidden.shape
    if lengths is None:
        lengths = torch.full((B,), L, device=hidden.device)
    elif not torch.compiler.is_compiling() and (lengths.shape != (B,) or int(lengths.min()) < 1 or int(lengths.max()) > L):
        raise HyenaError(f"lengths is {lengths.tolist()}: {B} whole numbers from 1 to {L} are needed")
    if pool == "first":
        return hidden[:, 0]
    if pool == "last":
        return hidden[torch.arange(B, device=hidden.device), lengths - 1]
    own = torch.arange(L, device=hidden.device) < lengths[:, None]
    total = hidden.masked_fill(~own[..., None], 0).sum(1)
    return total / lengths[:, None] if pool == "mean" else total


_KINDS: dict[str, type[LanguageModel] | type[Classifier]] = {cls.kind: cls for cls in (LanguageModel, Classifier)}


def skeleton(saved: store.Saved, directory: Path) -> LanguageModel | Classifier:
    """The model that a directory holds, without content, on the meta device."""
    if saved.kind not in _KINDS:
        raise HyenaError(f"{directory} holds a model of kind {saved.kind!r}: one of {', '.join(_KINDS)} is needed")
    try:
        with torch.device("meta"):
            return _KINDS[saved.kind](saved.config, **saved.head)
    except TypeError:
        raise HyenaError(f"{directory}: the configuration's head {saved.head} does not fit a {saved.kind}") from None


def load(directory: str | Path) -> LanguageModel | Classifier:
    """Read back what `Model.save` wrote: same weights, same dtypes, in evaluation mode. `HyenaError` for what does not fit.

    Of a training run that is not finished, the newest checkpoint.
    """
    directory = store.resolve(Path(directory))
    saved = store.read(directory)
    model = skeleton(saved, directory)
    store.assign(model, saved.tensors, str(directory))
    model.tokenizer_file, model.published = saved.tokenizer_file, saved.published
    return model.eval()
