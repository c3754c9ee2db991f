"""At home in transformers 5: `import hyena.integrations.transformers` registers our models with its Auto classes (extra `hf`).

    import hyena.integrations.transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained("runs/shakespeare")     # a directory that hyena wrote

What `save_pretrained` writes is in turn a directory that `hyena.load` reads.
"""

try:
    import transformers
except ImportError as error:
    raise ImportError("hyena.integrations.transformers needs the package transformers; run pip install 'hyena[hf]'") from error

from hyena.integrations.transformers.base import HyenaModel, HyenaPreTrainedModel
from hyena.integrations.transformers.cache import HyenaCache
from hyena.integrations.transformers.causal import HyenaForCausalLM
from hyena.integrations.transformers.classifier import HyenaForSequenceClassification
from hyena.integrations.transformers.config import HyenaConfig
from hyena.integrations.transformers.tokenizer import HyenaTokenizer, make_tokenizer
from hyena.models import Classifier, LanguageModel

__all__ = [
    "HyenaCache",
    "HyenaConfig",
    "HyenaForCausalLM",
    "HyenaForSequenceClassification",
    "HyenaModel",
    "HyenaPreTrainedModel",
    "HyenaTokenizer",
    "make_tokenizer",
    "wrap",
]


def wrap(model: LanguageModel | Classifier) -> HyenaForCausalLM | HyenaForSequenceClassification:
    """A model of ours as one of transformers: the same weights, not copies of them."""
    if isinstance(model, Classifier):
        return HyenaForSequenceClassification.around(model)
    return HyenaForCausalLM.around(model)


def _register() -> None:
    """Make the Auto classes know our configuration; again is no harm."""
    transformers.AutoConfig.register(HyenaConfig.model_type, HyenaConfig, exist_ok=True)
    transformers.AutoModel.register(HyenaConfig, HyenaModel, exist_ok=True)
    transformers.AutoModelForCausalLM.register(HyenaConfig, HyenaForCausalLM, exist_ok=True)
    transformers.AutoModelForSequenceClassification.register(HyenaConfig, HyenaForSequenceClassification, exist_ok=True)
    transformers.AutoTokenizer.register(HyenaConfig, HyenaTokenizer, exist_ok=True)


_register()
