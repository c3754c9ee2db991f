"""`RunConfig`: one training run, from data to directory; and the demonstration's.

A run is a TOML file with the tables [model], [data], [optimizer] and [training]; every key of the file but `preset`
can be changed on the command line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hyena.configs import presets
from hyena.configs.data import DataConfig as DataConfig
from hyena.configs.files import from_dict, nearest, validate
from hyena.configs.mixers import HyenaConfig, ImplicitFilterConfig, Mixers
from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW in three groups: weight matrices with decay, all else without, implicit filters without and at their own rate."""

    lr: float = 6e-4
    """Peak learning rate."""
    filter_lr: float | None = None
    """Peak learning rate of the implicit filters; none given: as lr."""
    weight_decay: float = 0.1
    """Decay of weight matrices. Filters, norms, biases, skips and short convolutions never decay."""
    beta1: float = 0.9
    """AdamW's first moment."""
    beta2: float = 0.98
    """AdamW's second moment."""
    clip: float = 1.0
    """Gradients are scaled down to this norm; 0: never."""
    warmup: float = 0.05
    """Fraction of the steps over which the rate rises linearly."""
    floor: float = 0.1
    """Fraction of the peak that the cosine ends at."""

    def __post_init__(self) -> None:
        """Reject rates and fractions with no meaning."""
        validate(self)
        if not self.lr > 0 or not (self.filter_lr is None or self.filter_lr > 0):
            raise HyenaError(f"lr is {self.lr} and filter_lr {self.filter_lr}: use numbers above 0")
        for name in ("warmup", "floor"):
            if not 0 <= getattr(self, name) <= 1:
                raise HyenaError(f"optimizer.{name} is {getattr(self, name)}: use a fraction from 0 to 1")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise HyenaError(f"optimizer.{name} is {getattr(self, name)}: use a number from 0 up to, not including, 1")
        if not (self.weight_decay >= 0 and self.clip >= 0):
            raise HyenaError(f"weight_decay is {self.weight_decay} and clip {self.clip}: use 0 or more")


@dataclass(frozen=True)
class TrainingConfig:
    """How long, how much at a time, and what is written meanwhile."""

    steps: int = 1000
    """Optimiser steps."""
    batch_size: int = 16
    """Sequences a step (of each accumulated part)."""
    length: int | None = None
    """Tokens a sequence; none given: the model's max_length."""
    accumulate: int = 1
    """Parts of batch_size whose gradients are averaged before a step."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: matrix products by autocast; weights, filters, transforms and loss stay in float32."""
    seed: int = 0
    """Of the initial weights, the batches and dropout."""
    device: str = "auto"
    """`auto`: the GPU where PyTorch finds one, else the CPU; or a PyTorch device."""
    log_every: int = 10
    """Steps between two lines of metrics.jsonl."""
    valid_every: int = 100
    """Steps between two validations; the last step always validates."""
    save_every: int = 200
    """Steps between two saves; the last step and an interruption always save."""

    def __post_init__(self) -> None:
        """Reject sizes below one."""
        validate(self)
        for name in ("steps", "batch_size", "accumulate", "log_every", "valid_every", "save_every"):
            if getattr(self, name) < 1:
                raise HyenaError(f"training.{name} is {getattr(self, name)}: use a whole number of at least 1")
        if not 0 <= self.seed < 2**64:
            raise HyenaError(f"training.seed is {self.seed}: use a whole number from 0 to 2**64 - 1")
        if self.length is not None and self.length < 1:
            raise HyenaError(f"training.length is {self.length}: use at least 1, or leave it out for max_length")


@dataclass(frozen=True)
class RunConfig:
    """A training run."""

    directory: str
    """Where the model, metrics.jsonl, loss.png and the state to resume from are written."""
    model: ModelConfig
    """What is trained."""
    data: DataConfig
    """What it is trained on."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How it is updated."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How long and how much at a time."""

    @property
    def length(self) -> int:
        """Tokens a training sequence."""
        return self.training.length or self.model.max_length

    @property
    def spec(self) -> str:
        """The tokenizer: the model's, or bytes."""
        return self.model.tokenizer or "bytes"


def run_config(values: Mapping[str, Any], where: str, vocab_size: int | None = None) -> RunConfig:
    """A run from a TOML file's values. [model] may name a `preset`, whose fields the others change, and may leave out
    vocab_size, for which the tokenizer's is then given here.
    """
    values = dict(values)
    if isinstance(values.get("model"), Mapping):
        model = dict(values["model"])
        if "preset" in model:
            model = preset(model.pop("preset"), f"{where}: model").to_dict() | model
        model = {"vocab_size": vocab_size} | model if vocab_size is not None else model
        values["model"] = ModelConfig.from_dict(model, f"{where}: model")
    return from_dict(RunConfig, values, where)


def preset(name: str, where: str) -> ModelConfig:
    """A preset by its name; `HyenaError` naming the nearest."""
    known = sorted(key for key in vars(presets) if key.startswith("hyena"))
    if name not in known:
        raise HyenaError(f"{where}: there is no preset {name!r}{nearest(str(name), known)}; the presets: {', '.join(known)}")
    return getattr(presets, name)()


def demo(directory: str, file: str) -> RunConfig:
    """The demonstration: a byte-level Hyena of 4 layers of width 128 on tiny Shakespeare, minutes on a laptop."""
    return RunConfig(
        directory=directory,
        model=ModelConfig(
            pattern="HHHH",
            width=128,
            vocab_size=256,
            max_length=256,
            beyond="truncate",
            tokenizer="bytes",
            mixers=Mixers(H=HyenaConfig(filter=ImplicitFilterConfig(features=17, frequency=10.0))),
        ),
        data=DataConfig(files=(file,)),
        optimizer=OptimizerConfig(lr=2e-3, floor=0.05),
        training=TrainingConfig(steps=3600, batch_size=4, log_every=20, valid_every=600, save_every=600),
    )
