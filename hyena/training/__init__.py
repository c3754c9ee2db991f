"""FLOOR 5: the loop, optimiser groups and schedule, validation, and what a run leaves on disk."""

from hyena.training.evaluate import Evaluation, Positions, evaluate, evaluate_positions
from hyena.training.loop import Progress, Result, train

__all__ = ["Evaluation", "Positions", "Progress", "Result", "evaluate", "evaluate_positions", "train"]
