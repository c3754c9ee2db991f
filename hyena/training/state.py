"""Everything that a run is at a step, to a checkpoint and back."""

from contextlib import nullcontext
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyena.configs.training import RunConfig
from hyena.errors import HyenaError
from hyena.models import LanguageModel
from hyena.training import saves
from hyena.training.average import Average
from hyena.training.diagnose import broken_tensor
from hyena.training.evaluate import Evaluation
from hyena.training.source import Source


@dataclass
class State:
    """The parts of a run that change. Batches and rates follow from the step, so they need no state of their own."""

    model: LanguageModel
    optimizer: torch.optim.AdamW
    average: Average | None
    step: int = 0
    """Steps done."""
    valid: Evaluation | None = None
    """The latest validation."""
    best: tuple[int, float] | None = None
    """Step and nats per token of the best validation."""

    def averaged(self) -> Any:
        """A context in which the model is what is validated and saved: the average where there is one."""
        return self.average.applied(self.model) if self.average is not None else nullcontext()

    def validate(self, source: Source) -> bool:
        """Validate and note it; whether it is the best so far. `HyenaError` for a loss that is not finite."""
        with self.averaged():
            valid = source.validate(self.model)
        if not isfinite(valid.nats_per_token):
            raise HyenaError(f"the held-out loss is {valid.nats_per_token} at step {self.step}: lower optimizer.lr")
        self.valid = valid
        best = self.best is None or valid.nats_per_token < self.best[1]
        if best:
            self.best = self.step, valid.nats_per_token
        return best

    def check(self) -> None:
        """Raise `HyenaError` where the last update has left a weight that is not finite: nothing broken is ever saved."""
        with self.averaged():
            broken = broken_tensor(self.model)
        if broken := broken or broken_tensor(self.model):
            raise HyenaError(f"{broken} is not finite after step {self.step}: lower optimizer.lr or optimizer.clip")

    def save(self, directory: Path, config: RunConfig) -> None:
        """Write the checkpoint of this step, then remove those that are not kept."""
        progress = {
            "step": self.step,
            "next_batch": self.step * config.training.accumulate,
            "seed": config.training.seed,
            "valid": None if self.valid is None else asdict(self.valid),
            "best": self.best,
        }

        def save_model(part: Path) -> None:
            with self.averaged():
                self.model.save(part)

        saves.write(directory, self.step, save_model, self._tensors(), progress)
        saves.prune(directory, config.training.keep, None if self.best is None else self.best[0])

    def _tensors(self) -> dict[str, Tensor]:
        """What the model's file does not hold, by name."""
        tensors = {"random.cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors |= {f"random.cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
        for name, parameter in self.model.named_parameters():
            tensors |= {f"optimizer.{key}.{name}": value for key, value in self.optimizer.state[parameter].items()}
            if self.average is not None:
                tensors[f"weights.{name}"] = parameter.detach()
        return {name: tensor.detach().cpu() for name, tensor in tensors.items()}

    def restore(self, directory: Path, step: int) -> None:
        """Become what `save` wrote at a step."""
        weights, tensors, progress = saves.read(directory, step)
        self.model.load_state_dict(weights)
        if self.average is not None:
            for name, parameter in self.model.named_parameters():
                self.average.weights[name].copy_(parameter.detach())
                parameter.data.copy_(tensors[f"weights.{name}"])
        parameters = dict(self.model.named_parameters())
        for full, tensor in tensors.items():
            kind, _, rest = full.partition(".")
            if kind == "optimizer":
                key, _, name = rest.partition(".")
                self.optimizer.state[parameters[name]][key] = tensor.to(parameters[name].device, copy=True)
        torch.set_rng_state(tensors["random.cpu"])
        if torch.cuda.is_available():
            for i in range(torch.cuda.device_count()):
                if f"random.cuda.{i}" in tensors:
                    torch.cuda.set_rng_state(tensors[f"random.cuda.{i}"], i)
        self.step = progress["step"]
        self.valid = Evaluation(**progress["valid"]) if progress["valid"] else None
        self.best = tuple(progress["best"]) if progress["best"] else None
