"""hyena: long-convolution sequence models of the Hyena family: train, save, load, generate, reproduce the published ones.

    import hyena
    model = hyena.load("runs/demo")
    ids = hyena.generate(model, ids, max_new_tokens=200, seed=0)

Names are imported when they are used, so that `import hyena` and `hyena --help` are instant.
"""

import importlib
from typing import TYPE_CHECKING, Any

from hyena.version import __version__ as __version__

if TYPE_CHECKING:
    from hyena import checkpoints as checkpoints
    from hyena import data as data
    from hyena import ops as ops
    from hyena.bench.inspect import inspect as inspect
    from hyena.checkpoints import load as load
    from hyena.configs import presets as presets
    from hyena.configs.data import DataConfig as DataConfig
    from hyena.configs.filters import ExplicitFilterConfig as ExplicitFilterConfig
    from hyena.configs.filters import ImplicitFilterConfig as ImplicitFilterConfig
    from hyena.configs.filters import ModalFilterConfig as ModalFilterConfig
    from hyena.configs.filters import RealModalFilterConfig as RealModalFilterConfig
    from hyena.configs.mixers import AttentionConfig as AttentionConfig
    from hyena.configs.mixers import ExplicitConvConfig as ExplicitConvConfig
    from hyena.configs.mixers import GatedConvConfig as GatedConvConfig
    from hyena.configs.mixers import HyenaConfig as HyenaConfig
    from hyena.configs.mixers import Mixers as Mixers
    from hyena.configs.mixers import RealModalConvConfig as RealModalConvConfig
    from hyena.configs.mixers import letters as letters
    from hyena.configs.model import ModelConfig as ModelConfig
    from hyena.configs.training import OptimizerConfig as OptimizerConfig
    from hyena.configs.training import RunConfig as RunConfig
    from hyena.configs.training import TrainingConfig as TrainingConfig
    from hyena.errors import HyenaError as HyenaError
    from hyena.inference import distill as distill
    from hyena.inference import embed as embed
    from hyena.inference import generate as generate
    from hyena.inference import score as score
    from hyena.models import Classifier as Classifier
    from hyena.models import LanguageModel as LanguageModel
    from hyena.models import cost as cost
    from hyena.models import estimate_memory as estimate_memory
    from hyena.models import trace as trace
    from hyena.training import evaluate as evaluate
    from hyena.training import train as train

# Public name -> the module that has it; None: the name is that module.
_HOMES: dict[str, tuple[str, str | None]] = {
    "checkpoints": ("hyena.checkpoints", None),
    "data": ("hyena.data", None),
    "ops": ("hyena.ops", None),
    "presets": ("hyena.configs.presets", None),
    "load": ("hyena.checkpoints", "load"),
    "ExplicitFilterConfig": ("hyena.configs.filters", "ExplicitFilterConfig"),
    "ImplicitFilterConfig": ("hyena.configs.filters", "ImplicitFilterConfig"),
    "ModalFilterConfig": ("hyena.configs.filters", "ModalFilterConfig"),
    "RealModalFilterConfig": ("hyena.configs.filters", "RealModalFilterConfig"),
    "AttentionConfig": ("hyena.configs.mixers", "AttentionConfig"),
    "ExplicitConvConfig": ("hyena.configs.mixers", "ExplicitConvConfig"),
    "GatedConvConfig": ("hyena.configs.mixers", "GatedConvConfig"),
    "HyenaConfig": ("hyena.configs.mixers", "HyenaConfig"),
    "Mixers": ("hyena.configs.mixers", "Mixers"),
    "RealModalConvConfig": ("hyena.configs.mixers", "RealModalConvConfig"),
    "letters": ("hyena.configs.mixers", "letters"),
    "ModelConfig": ("hyena.configs.model", "ModelConfig"),
    "DataConfig": ("hyena.configs.data", "DataConfig"),
    "OptimizerConfig": ("hyena.configs.training", "OptimizerConfig"),
    "RunConfig": ("hyena.configs.training", "RunConfig"),
    "TrainingConfig": ("hyena.configs.training", "TrainingConfig"),
    "HyenaError": ("hyena.errors", "HyenaError"),
    "embed": ("hyena.inference", "embed"),
    "distill": ("hyena.inference", "distill"),
    "generate": ("hyena.inference", "generate"),
    "score": ("hyena.inference", "score"),
    "Classifier": ("hyena.models", "Classifier"),
    "LanguageModel": ("hyena.models", "LanguageModel"),
    "cost": ("hyena.models", "cost"),
    "estimate_memory": ("hyena.models", "estimate_memory"),
    "trace": ("hyena.models", "trace"),
    "inspect": ("hyena.bench.inspect", "inspect"),
    "evaluate": ("hyena.training", "evaluate"),
    "train": ("hyena.training", "train"),
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hyena' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = importlib.import_module(module)
    if attribute is not None:
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
