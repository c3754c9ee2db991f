"""`HyenaForSequenceClassification`: our classifier."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutputWithPast

from hyena.errors import HyenaError
from hyena.integrations.transformers.base import HyenaPreTrainedModel
from hyena.integrations.transformers.config import HyenaConfig
from hyena.integrations.transformers.padding import rows_with_tokens
from hyena.models import Classifier
from hyena.models.heads import pooled


class HyenaForSequenceClassification(HyenaPreTrainedModel):
    """One label a sequence, from hidden states pooled over its own tokens: the number of labels is `config.num_labels`."""

    score: nn.Linear

    @staticmethod
    def _own(config: HyenaConfig) -> Classifier:
        """Pool and bias as a classifier's configuration has them; over a language model the mean, and a bias."""
        known = (config.head or {}) if config.kind == Classifier.kind else {}
        return Classifier(config.model_config, **known | {"classes": config.num_labels})

    def _take(self, own: Any) -> None:
        """Backbone and head of a `Classifier`."""
        super()._take(own)
        self.score, self.pool = own.score, own.pool

    def head_options(self) -> dict[str, Any]:
        """As `Classifier.head_options`."""
        return {"classes": self.score.out_features, "pool": self.pool, "bias": self.score.bias is not None}

    def _kind(self) -> str:
        """A classifier."""
        return Classifier.kind

    def native(self) -> Classifier:
        """The `hyena.Classifier` inside: the same weights."""
        with torch.device("meta"):
            model = Classifier(self.config.model_config, **self.head_options())
        model.backbone, model.score, model.tokenizer_file = self.backbone, self.score, self.tokenizer_file
        return model.train(self.training)

    def forward(
        self,
        input_ids: Int[Tensor, "B L"] | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        **options: Any,
    ) -> SequenceClassifierOutputWithPast | tuple[Any, ...]:
        """Logits (B, classes). attention_mask (B, L): zeros where padding stands, on either side of a row's tokens.

        labels: (B,) classes, (B,) numbers or (B, classes) truth values, as `config.problem_type` says or transformers infers.
        """
        loss_options, as_object = self._options(options)
        if input_ids is None or inputs_embeds is not None or use_cache:
            raise HyenaError("a classifier reads input_ids at once: leave inputs_embeds and use_cache out")
        rows = rows_with_tokens(input_ids, attention_mask)
        logits = self.score(pooled(self.backbone(rows.ids), self.pool, rows.lengths))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config, **loss_options)
        output = SequenceClassifierOutputWithPast(loss=loss, logits=logits)
        return output if as_object else output.to_tuple()
