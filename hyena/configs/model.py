"""`ModelConfig`: everything that makes one model differ from another, in one frozen dataclass; JSON in and out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hyena.configs.files import from_dict, to_dict, validate
from hyena.configs.mixers import LETTERS, Activation, Beyond, MixerConfig, Mixers
from hyena.errors import HyenaError


@dataclass(frozen=True)
class ModelConfig:
    """A stack of blocks `x + mixer(norm(x))`, `x + mlp(norm(x))` over an embedding; a pattern's letters are the mixers."""

    pattern: str
    """One letter a layer, from the first to the last; spaces are ignored. `hyena.letters()` lists them."""
    width: int
    """D: channels of the residual stream."""
    vocab_size: int
    """Symbols of the tokenizer."""
    max_length: int = 2048
    """Grid of the implicit filters, in tokens: t and z are normalised by it, never by the input."""
    beyond: Beyond = "error"
    """Past max_length: `error`; `truncate`: the filter is zero there; `extend`: its grid goes on."""
    tokenizer: str | None = None
    """`bytes`, `dna` or `file:NAME`; none: the model takes ids only (256 symbols: bytes)."""
    vocab_multiple: int = 1
    """The head has vocab_size rows rounded up to this multiple; the log-softmax runs over all of them."""
    norm: Literal["layer", "rms", "rms_outside"] = "layer"
    """Norm before each mixer and MLP and before the head: `layer`; `rms`: x / sqrt(mean x^2 + eps); `rms_outside`:
    x / (sqrt(mean x^2) + eps), as StripedHyena has it."""
    norm_eps: float = 1e-5
    """Epsilon of the norms."""
    mlp: Literal["plain", "gated"] = "plain"
    """`plain`: W2 act(W1 x) with biases; `gated`: W3 (act(W1 x) * W2 x) without."""
    mlp_width: int | None = None
    """Hidden width of the MLP; none given: 4 times the width."""
    activation: Activation = "gelu_tanh"
    """Activation of the MLPs."""
    later_activation: Activation | None = None
    """Activation of the MLPs after the first layer's; none given: the same. StripedHyena 2: `gelu`, then `identity`."""
    tied: bool = True
    """Whether the head shares the embedding's weights."""
    float32_residual: bool = True
    """Keep the residual stream in float32 when the model runs in half precision."""
    position_rows: int = 0
    """Rows of a learned position embedding; 0: none (Hyena needs none)."""
    dropout: float = 0.0
    """Dropout of each mixer's and MLP's output."""
    embed_dropout: float = 0.0
    """Dropout of the embedding."""
    init_std: float | None = None
    """Standard deviation of the initial weights; none given: sqrt(2 / (5 width)). Published: 0.02."""
    out_init: Literal["depth", "wang"] = "depth"
    """Standard deviation of the initial output projections, for n layers: `depth`: init_std / sqrt(2 n); `wang`:
    2 / (n sqrt(width)), as StripedHyena 2 was trained."""
    mixers: Mixers = field(default_factory=Mixers)
    """Options behind the letters."""

    def __post_init__(self) -> None:
        """Reject letters and sizes that cannot be built."""
        validate(self)
        if not self.layers:
            raise HyenaError("pattern is empty: give one letter a layer, such as 'HHAH'")
        for position, letter in enumerate(self.layers):
            if letter not in LETTERS:
                known = ", ".join(f"{name} ({what})" for name, what in LETTERS.items())
                raise HyenaError(f"unknown letter {letter!r} at layer {position} of pattern {self.pattern!r}: use {known}")
        for name in ("width", "vocab_size", "max_length", "vocab_multiple", "hidden"):
            if getattr(self, name) < 1:
                raise HyenaError(f"{name.replace('hidden', 'mlp_width')} is {getattr(self, name)}: use a number of at least 1")
        for name in ("initial_std", "norm_eps"):
            if not getattr(self, name) >= 0:
                raise HyenaError(f"{name.replace('initial', 'init')} is {getattr(self, name)}: use 0 or more")
        for name in ("dropout", "embed_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise HyenaError(f"{name} is {getattr(self, name)}: use a number from 0 up to, not including, 1")
        if self.position_rows < 0:
            raise HyenaError(f"position_rows is {self.position_rows}: use 0 for none")

    @property
    def layers(self) -> str:
        """The pattern without spaces: one letter a layer."""
        return self.pattern.replace(" ", "")

    @property
    def rows(self) -> int:
        """V: rows of the embedding and the head, `vocab_size` rounded up to `vocab_multiple`."""
        return -(-self.vocab_size // self.vocab_multiple) * self.vocab_multiple

    @property
    def hidden(self) -> int:
        """Hidden width of the MLP."""
        return 4 * self.width if self.mlp_width is None else self.mlp_width

    @property
    def initial_std(self) -> float:
        """Standard deviation of the initial weights: as given, or the small initialisation of arXiv 1910.05895."""
        return math.sqrt(2 / (5 * self.width)) if self.init_std is None else self.init_std

    @property
    def initial_out_std(self) -> float:
        """Standard deviation of the initial output projections of mixers and MLPs."""
        layers = len(self.layers)
        if self.out_init == "wang":
            return 2 / (layers * math.sqrt(self.width))
        return self.initial_std / math.sqrt(2 * layers)

    def activation_at(self, layer: int) -> Activation:
        """The activation of a layer's MLP, counted from 0."""
        return self.activation if layer == 0 or self.later_activation is None else self.later_activation

    def mixer(self, letter: str) -> MixerConfig:
        """The configuration behind a letter."""
        return getattr(self.mixers, letter)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; of the mixers only those that the pattern uses, so that a file says what it builds."""
        values = to_dict(self)
        values["mixers"] = {letter: values["mixers"][letter] for letter in sorted(set(self.layers))}
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "model configuration") -> "ModelConfig":
        """The inverse of `to_dict`. Raises `HyenaError` naming an unknown, missing or mistyped key and where it stands."""
        return from_dict(cls, values, where)

    def replace(self, **changes: Any) -> "ModelConfig":
        """A copy with some fields changed (checked again)."""
        return replace(self, **changes)
