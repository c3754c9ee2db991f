"""Distillation: long implicit filters become an exact head and a few damped exponentials, whose state is a few numbers.

The numerics, each usable alone: `hankel` (poles by Ho-Kalman realisation), `choose` (which of them, at which time scale),
`refine` (poles improved), `exponentials` (residues by least squares, sums in closed form), `fit` (all of it on taps). Then
`layers` (a layer's filters in and out), `compare` (predictions), `report`, and `distil` (a whole model).
"""

from hyena.inference.distillation.distil import Distilled, distill
from hyena.inference.distillation.report import DistillationReport

__all__ = ["DistillationReport", "Distilled", "distill"]
