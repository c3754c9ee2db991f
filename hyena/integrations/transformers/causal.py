"""`HyenaForCausalLM`: our language model, with `generate`."""

from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import GenerationConfig, GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

from hyena.errors import HyenaError
from hyena.integrations.transformers.base import HyenaPreTrainedModel
from hyena.integrations.transformers.cache import CACHE, HyenaCache
from hyena.integrations.transformers.config import HyenaConfig
from hyena.models import LanguageModel


class HyenaForCausalLM(HyenaPreTrainedModel, GenerationMixin):
    """Next-token prediction. `lm_head` has the embedding's weights where the model ties them."""

    _tied_weights_keys: ClassVar = {"lm_head.weight": "backbone.embedding.weight"}
    lm_head: nn.Linear

    def __init__(self, config: HyenaConfig):
        """A freshly initialised model, as `hyena.LanguageModel` draws it."""
        super().__init__(config)
        self.generation_config = self.new_generation_config()

    def _take(self, own: Any) -> None:
        """Backbone and head of a `LanguageModel`."""
        super()._take(own)
        self.lm_head = _tied(own.backbone.embedding) if own.lm_head is None else own.lm_head

    def native(self) -> LanguageModel:
        """The `hyena.LanguageModel` inside: the same weights, for everything that hyena does with one."""
        with torch.device("meta"):
            model = LanguageModel(self.config.model_config)
        model.backbone = self.backbone
        model.lm_head = None if self.config.tie_word_embeddings else self.lm_head
        model.tokenizer_file = self.tokenizer_file
        return model.train(self.training)

    def forward(
        self,
        input_ids: Int[Tensor, "B L"] | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: HyenaCache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Int[Tensor, "B L"] | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        cache: HyenaCache | None = None,
        **options: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """Logits (B, L, V), those of the last `logits_to_keep` columns, or of the columns it names, where given.

        attention_mask (B, L): zeros where padding stands, before a row's tokens or after them; with a cache before them only,
        and of the columns read earlier too. A row gives what it gives without its padding. labels (B, L): ids, -100 for none;
        the loss is that of each token given those before it in its row. With a cache (`past_key_values` is its older name) or
        `use_cache=True` logits have no gradient.
        """
        loss_options, as_object = self._options(options)
        cache = past_key_values if cache is None else cache
        hidden, cache = self.hidden(input_ids, attention_mask, cache, inputs_embeds, use_cache)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) and logits_to_keep else logits_to_keep
        logits = self.lm_head(hidden if isinstance(kept, int) else hidden[:, kept])
        loss = None
        if labels is not None:
            if attention_mask is not None:  # before a row's first token there is nothing to tell it from
                labels = labels.masked_fill((attention_mask != 0) & (attention_mask.cumsum(1) == 1), -100)
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **loss_options)
        output = CausalLMOutputWithPast(loss=loss, logits=logits, **{CACHE: cache})
        return output if as_object else output.to_tuple()

    # --- generation ---------------------------------------------------------------------------------------------------------

    def new_generation_config(self) -> GenerationConfig:
        """Greedy, over the symbols alone: the rows that only round the head up are never drawn."""
        config = self.config.model_config
        padding = list(range(config.vocab_size, config.rows))
        return GenerationConfig(suppress_tokens=padding or None)

    def _prepare_attention_mask_for_generation(
        self, inputs_tensor: Tensor, generation_config: GenerationConfig, model_kwargs: dict[str, Any]
    ) -> Tensor:
        """All ones where none is given. `HyenaError` where transformers would take tokens for padding because of their id."""
        mask = super()._prepare_attention_mask_for_generation(inputs_tensor, generation_config, model_kwargs)
        if not bool(mask.all()):
            row = int((mask == 0).any(1).int().argmax())
            raise HyenaError(
                f"row {row} holds the id of padding, {generation_config.pad_token_id}, and there is no attention_mask: pass "
                "one, with ones for tokens and zeros for padding"
            )
        return mask

    def _prepare_cache_for_generation(
        self,
        generation_config: GenerationConfig,
        model_kwargs: dict[str, Any],
        generation_mode: Any,
        batch_size: int,
        max_cache_length: int,
    ) -> None:
        """Put our cache among the arguments of `forward`. `HyenaError` for any other, and for a prompt without a token."""
        mask = model_kwargs.get("attention_mask")
        if mask is not None and not bool(mask.any(1).all()):
            row = int((~mask.bool().any(1)).int().argmax())
            raise HyenaError(f"attention_mask has no token in row {row}: a prompt needs one at least")
        if generation_config.cache_implementation not in (None, "dynamic"):
            raise HyenaError(
                f"cache_implementation is {generation_config.cache_implementation!r}: hyena keeps a state of its own; leave it "
                "out"
            )
        given = [model_kwargs.pop(name) for name in ("cache", "past_key_values") if model_kwargs.get(name) is not None]
        if given and not isinstance(given[0], HyenaCache):
            raise HyenaError(
                f"the cache is a {type(given[0]).__name__}: hyena keeps a state; pass HyenaCache() or leave it out"
            )
        if not given and generation_config.use_cache is False:
            return
        padded = 0 if mask is None else int((mask == 0).sum(1).min())
        cache = given[0] if given else HyenaCache(max_cache_length - padded)
        cache._is_user_defined, cache.padding = bool(given), generation_config.pad_token_id
        model_kwargs[CACHE] = cache


def _tied(embedding: nn.Embedding) -> nn.Linear:
    """A head with an embedding's weights."""
    head = nn.Linear(embedding.embedding_dim, embedding.num_embeddings, bias=False, device="meta")
    head.weight = embedding.weight
    return head
