"""`HyenaConfig`: a config.json of ours as transformers holds it. The table `model` in it is the `ModelConfig`, whole.

Everything else that transformers asks of a configuration (sizes, tying, labels) is derived from that table, and never written
beside it, where it could say something else.
"""

from typing import Any, ClassVar, Self

from transformers import PreTrainedConfig

from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError
from hyena.models import Classifier, LanguageModel, store
from hyena.version import __version__


class HyenaConfig(PreTrainedConfig):
    """The keys of our config.json (`hyena/models/store.py`) and those that transformers adds."""

    model_type = store.FORMAT
    __no_type_check__ = True  # transformers makes the constructor, which takes more than the fields that checkers see
    keys_to_ignore_at_inference: ClassVar = ["past_key_values", "cache"]

    format: str = store.FORMAT
    """That the directory is ours."""
    format_version: int = store.VERSION
    """Of config.json."""
    kind: str = LanguageModel.kind
    """`language-model` or `classifier`."""
    head: dict[str, Any] | None = None
    """What the head's constructor takes beside the configuration."""
    model: dict[str, Any] | None = None
    """`ModelConfig.to_dict()`."""
    hyena_version: str = __version__
    """Which hyena wrote it."""

    def __post_init__(self, **kwargs: Any) -> None:
        """kwargs: keys that transformers has for every model, and what a file holds beside. `HyenaError` as `hyena.load`."""
        kwargs.pop("save_id", None)  # of the files that hyena wrote together: not of what is written next
        if self.model is not None:
            values = {f: getattr(self, f) for f in ("format", "format_version", "model", "hyena_version")}
            self.model = store.settings(values, "config.json").to_dict()
        self.hyena_version = __version__
        self.head = self.head or {}
        if self.kind == Classifier.kind and self.id2label is None:
            kwargs.setdefault("num_labels", self.head.get("classes", 2))
        super().__post_init__(**kwargs)

    @classmethod
    def of(cls, model: ModelConfig | LanguageModel | Classifier) -> Self:
        """The configuration of a model of ours, or of one to be built (a language model)."""
        if isinstance(model, ModelConfig):
            return cls(model=model.to_dict())
        dtype = model.backbone.embedding.weight.dtype
        return cls(kind=model.kind, head=dict(model.head_options()), model=model.config.to_dict(), dtype=dtype)

    @property
    def model_config(self) -> ModelConfig:
        """Ours. `HyenaError` where there is none."""
        if self.model is None:
            raise HyenaError("HyenaConfig has no model: make it by HyenaConfig.of(hyena.ModelConfig(...)) or from a directory")
        return ModelConfig.from_dict(self.model)

    @property
    def vocab_size(self) -> int:
        """V: rows of the embedding and the head, which for transformers are the vocabulary."""
        return self.model_config.rows

    @vocab_size.setter
    def vocab_size(self, rows: int) -> None:
        """What `resize_token_embeddings` does: every row is then a symbol."""
        self.model = self.model_config.replace(vocab_size=rows, vocab_multiple=1).to_dict()

    @property
    def hidden_size(self) -> int:
        """D."""
        return self.model_config.width

    @property
    def num_hidden_layers(self) -> int:
        """Blocks."""
        return len(self.model_config.layers)

    @property
    def max_position_embeddings(self) -> int:
        """`max_length`: what the model was built for. Past it the model decides, by its letters and `beyond`."""
        return self.model_config.max_length

    @property
    def tie_word_embeddings(self) -> bool:
        """Whether the head shares the embedding's weights; transformers asks this of an empty configuration too."""
        return self.model is not None and self.model_config.tied
