"""FLOOR 5: the loop, optimiser groups and schedule, validation, and what a run leaves on disk."""

from hyena.training.evaluate import Evaluation, evaluate
from hyena.training.loop import Progress, Result, train

__all__ = ["Evaluation", "Progress", "Result", "evaluate", "train"]
