"""Training on associative recall: a task whose answers need memory, made up as it is needed."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hyena.configs.training import RunConfig
from hyena.data import recall_batch
from hyena.errors import HyenaError
from hyena.models import LanguageModel
from hyena.training.evaluate import Evaluation
from hyena.training.source import IGNORED

_VALIDATION_BATCHES = 20


class RecallSource:
    """Sequences of keys and values; one stream of random numbers trains, another validates."""

    def __init__(self, config: RunConfig):
        """Raises `HyenaError` where the model does not fit the task."""
        task = config.data.recall
        assert task is not None, "the run has no recall task"
        if config.model.vocab_size != task.vocab_size or config.length != task.length:
            raise HyenaError(
                f"the recall task has {task.vocab_size} symbols in sequences of {task.length} and the model vocab_size "
                f"{config.model.vocab_size} and length {config.length}: make them the same"
            )
        if config.training.start_length is not None:
            raise HyenaError("training.start_length is given and the recall task has one length: leave start_length out")
        self.config, self.task = config, task
        self.digests: dict[str, str] = {}
        self.notes: tuple[str, ...] = (
            f"associative recall: {task.pairs} pairs of {task.keys} keys and {task.values} values a sequence",
        )

    def batch(self, number: int, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """Sequences (rows, length) and, where a known key asks for its value, the targets."""
        ids, targets = recall_batch(self.task, rows, self.config.training.seed, number)
        return torch.from_numpy(ids), torch.from_numpy(targets)

    def validate(self, model: LanguageModel) -> Evaluation:
        """Fresh sequences, the same at every validation; bits_per_byte is NaN, for the task has no bytes."""
        t, total, right, count = self.config.training, 0.0, 0, 0
        model.eval()
        with torch.no_grad():
            for number in range(_VALIDATION_BATCHES):
                batch = recall_batch(self.task, t.batch_size, t.seed, number, held_out=True)
                ids, targets = (torch.from_numpy(x).to(model.device) for x in batch)
                logits, asked = model(ids).float(), targets != IGNORED
                total += F.cross_entropy(logits[asked], targets[asked], reduction="sum").double().item()
                right += int((logits[asked].argmax(-1) == targets[asked]).sum())
                count += int(asked.sum())
        mean = total / max(count, 1)
        return Evaluation(mean, math.exp(min(mean, 700)), math.nan, count, right / max(count, 1))
