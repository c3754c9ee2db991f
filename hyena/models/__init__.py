"""FLOOR 3: blocks stacked, heads put on; initialisation, cost, trace and the native format."""

from hyena.models.cost import Cost, cost
from hyena.models.estimate import Estimate, estimate_memory
from hyena.models.heads import Classifier, LanguageModel, load
from hyena.models.trace import Trace, trace

__all__ = ["Classifier", "Cost", "Estimate", "LanguageModel", "Trace", "cost", "estimate_memory", "load", "trace"]
