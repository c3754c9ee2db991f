"""`RunConfig`: one training run, from data to directory. `configs/runs.py` reads and writes it as a TOML file."""

import math
from dataclasses import dataclass, field
from typing import Literal

from hyena.configs.data import DataConfig
from hyena.configs.files import validate
from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW in three groups: weight matrices with decay, all else without, implicit filters with their own rate and decay."""

    lr: float = 6e-4
    """Peak learning rate."""
    filter_lr: float | None = None
    """Peak learning rate of the implicit filters; none given: a third of lr. Published: as lr."""
    weight_decay: float = 0.1
    """Decay of weight matrices. Norms, biases, skips and short convolutions never decay."""
    filter_weight_decay: float = 0.0
    """Decay of the implicit filters; published trainings have none."""
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
    ema: float = 0.0
    """Decay of the moving average of the weights that is validated and saved as the model, such as 0.999; 0: none."""

    def __post_init__(self) -> None:
        """Reject rates and fractions with no meaning."""
        validate(self)
        if not 0 < self.lr < math.inf or not (self.filter_lr is None or 0 < self.filter_lr < math.inf):
            raise HyenaError(f"lr is {self.lr} and filter_lr {self.filter_lr}: use numbers above 0")
        for name in ("warmup", "floor"):
            if not 0 <= getattr(self, name) <= 1:
                raise HyenaError(f"optimizer.{name} is {getattr(self, name)}: use a fraction from 0 to 1")
        for name in ("beta1", "beta2", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise HyenaError(f"optimizer.{name} is {getattr(self, name)}: use a number from 0 up to, not including, 1")
        for name in ("weight_decay", "filter_weight_decay", "clip"):
            if not 0 <= getattr(self, name) < math.inf:
                raise HyenaError(f"optimizer.{name} is {getattr(self, name)}: use 0 or more")


@dataclass(frozen=True)
class TrainingConfig:
    """How long, how much at a time, and what is written meanwhile."""

    steps: int = 1000
    """Optimiser steps."""
    batch_size: int = 16
    """Sequences a step (of each accumulated part)."""
    length: int | None = None
    """Tokens a sequence; none given: the model's max_length."""
    start_length: int | None = None
    """Length of the first sequences, which doubles stage by stage up to length while the tokens a step stay the same; none
    given: length from the start."""
    start_fraction: float = 0.5
    """Fraction of the steps that the stages shorter than length take together, each the same number; with start_length."""
    accumulate: int = 1
    """Parts of batch_size whose gradients are averaged before a step."""
    gradient_checkpointing: bool = False
    """Keep the input of each block alone and compute the block again for its gradient: less memory, a third more time."""
    initial: str | None = None
    """Start from the weights of this model (a saved one or published weights) in place of random ones."""
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
    valid_tokens: int | None = None
    """Held-out tokens that a validation looks at, from their start; none given: all."""
    save_every: int = 200
    """Steps between two checkpoints; the last step, the best validation and an interruption always save."""
    keep: int = 2
    """Latest checkpoints that are kept; the one of the best validation is kept beside them."""

    def __post_init__(self) -> None:
        """Reject sizes below one."""
        validate(self)
        if self.valid_tokens is not None and self.valid_tokens < 2:
            raise HyenaError(f"training.valid_tokens is {self.valid_tokens}: use at least 2, or leave it out for all")
        for name in ("steps", "batch_size", "accumulate", "log_every", "valid_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise HyenaError(f"training.{name} is {getattr(self, name)}: use a whole number of at least 1")
        if not 0 <= self.seed < 2**64:
            raise HyenaError(f"training.seed is {self.seed}: use a whole number from 0 to 2**64 - 1")
        if self.length is not None and self.length < 1:
            raise HyenaError(f"training.length is {self.length}: use at least 1, or leave it out for max_length")
        if not 0 < self.start_fraction < 1:
            raise HyenaError(f"training.start_fraction is {self.start_fraction}: use a fraction between 0 and 1")


@dataclass(frozen=True)
class RunConfig:
    """A training run."""

    directory: str
    """Where the model, its checkpoints, metrics.jsonl and loss.png are written."""
    model: ModelConfig
    """What is trained."""
    data: DataConfig
    """What it is trained on."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How it is updated."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How long and how much at a time."""

    def __post_init__(self) -> None:
        """Reject stages of lengths that do not double up to the last."""
        if not self.directory:
            raise HyenaError("directory is empty: name where the run is to be written")
        start = self.training.start_length
        if start is not None and (start < 1 or self.length % start or (self.length // start).bit_count() != 1):
            raise HyenaError(
                f"training.start_length is {start} and length {self.length}: it doubles up to length, so use length divided by "
                "a power of two"
            )

    @property
    def length(self) -> int:
        """Tokens a training sequence."""
        return self.training.length or self.model.max_length

    @property
    def spec(self) -> str:
        """The tokenizer: the model's, or bytes."""
        return self.model.tokenizer or "bytes"
