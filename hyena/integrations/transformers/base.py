"""What our models share under transformers: built, loaded and saved so that the numbers are those of `hyena.load`, bit for bit.

Names of tensors are ours (`backbone.`, `lm_head.`, `score.`), so each library reads the other's files. Models are built in
float32 and then cast as `model.bfloat16()` casts them: filters, grids and frequencies stay in float32.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, initialization
from transformers.modeling_outputs import BaseModelOutputWithPast

from hyena.errors import HyenaError
from hyena.integrations.transformers.cache import CACHE, HyenaCache
from hyena.integrations.transformers.config import HyenaConfig
from hyena.integrations.transformers.padding import rows_with_tokens
from hyena.integrations.transformers.tokenizer import make_tokenizer
from hyena.models import Classifier, LanguageModel, store
from hyena.models.backbone import Backbone

_HEADS = ("lm_head.", "score.")
"""Names that another head may leave over, or not find."""
_LOSS = ("num_items_in_batch", "ignore_index", "shift_labels")
"""Arguments of `forward` that are for the loss."""
_SILENT = ("output_attentions", "output_hidden_states")
"""Arguments of `forward` that may be given where they ask for nothing."""


@contextmanager
def _float32() -> Iterator[torch.dtype]:
    """New tensors are float32 here; gives the dtype that they have outside."""
    outside = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield outside
    finally:
        torch.set_default_dtype(outside)


class HyenaPreTrainedModel(PreTrainedModel):
    """A backbone of ours in a model of transformers. A subclass has the head."""

    config_class = HyenaConfig
    _no_split_modules: ClassVar = ["Block"]
    _skip_keys_device_placement: ClassVar = ["past_key_values", "cache"]
    supports_gradient_checkpointing = True
    gradient_checkpointing = False
    _is_stateful = True  # a state does not go back: no assisted decoding
    backbone: Backbone
    tokenizer_file: Path | None = None
    """The file of a `file:NAME` tokenizer, which travels with the model."""

    def __init__(self, config: HyenaConfig):
        """A freshly initialised model, as `hyena` itself draws it."""
        super().__init__(config)
        with _float32() as dtype:
            own = self._own(config)
        self._take(own.to(dtype))
        if not self.backbone.embedding.weight.is_meta:
            for tensor in [*self.parameters(), *self.buffers()]:
                tensor._is_hf_initialized = True  # drawn: transformers would draw again
        self.post_init()

    @staticmethod
    def _own(config: HyenaConfig) -> LanguageModel | Classifier:
        """The model of ours that is inside."""
        return LanguageModel(config.model_config)

    def _take(self, own: Any) -> None:
        """Use the modules of a model of ours."""
        self.backbone = own.backbone

    @classmethod
    def around(cls, model: LanguageModel | Classifier) -> Self:
        """A model of transformers over the modules of one of ours: nothing is copied."""
        with torch.device("meta"):
            made = cls(HyenaConfig.of(model))
        made._take(model)
        made.tokenizer_file = model.tokenizer_file
        return made.train(model.training)

    def head_options(self) -> dict[str, Any]:
        """What config.json says of the head."""
        return {}

    # --- forward ------------------------------------------------------------------------------------------------------------

    def hidden(
        self,
        input_ids: Int[Tensor, "B L"] | None,
        attention_mask: Tensor | None,
        cache: HyenaCache | None,
        inputs_embeds: Tensor | None,
        use_cache: bool | None,
    ) -> tuple[Float[Tensor, "B L D"], HyenaCache | None]:
        """Hidden states, and the cache after the tokens where one is wanted; those that a cache gives have no gradient."""
        if input_ids is None or inputs_embeds is not None:
            raise HyenaError("inputs_embeds are not read: a state is of tokens; pass input_ids")
        if cache is None and not use_cache:
            rows = rows_with_tokens(input_ids, attention_mask)
            return rows.back(self.backbone(rows.ids)), None
        if self.training and torch.is_grad_enabled():
            raise HyenaError("a cache gives no gradient: train with use_cache=False and without a cache")
        cache = HyenaCache() if cache is None else cache
        if not isinstance(cache, HyenaCache):
            raise HyenaError(f"the cache is a {type(cache).__name__}: hyena keeps a state; pass HyenaCache() or leave it out")
        return cache.read(self.backbone, input_ids, attention_mask), cache

    def _options(self, given: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """The loss's part of the further arguments of `forward`, and whether an object is returned; the rest is refused."""
        as_object = given.pop("return_dict", None)
        loss = {name: given.pop(name) for name in _LOSS if name in given}
        unread = [name for name, value in given.items() if value is not None and not (name in _SILENT and value is False)]
        if unread:
            raise HyenaError(f"{unread[0]} is given, which hyena's models do not read: leave it out")
        return loss, self.config.return_dict if as_object is None else as_object

    # --- what transformers asks of a model ----------------------------------------------------------------------------------

    def get_input_embeddings(self) -> nn.Module:
        """The embedding."""
        return self.backbone.embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Put another in its place."""
        self.backbone.embedding = value

    def resize_token_embeddings(self, *arguments: Any, **options: Any) -> nn.Module:
        """As transformers has it; every row is then a symbol."""
        embedding = super().resize_token_embeddings(*arguments, **options)
        self.backbone.config = self.config.model_config
        return embedding

    def _init_weights(self, module: nn.Module) -> None:
        """A head that a file does not have, or rows added to an embedding: as `models/init.py` draws them."""
        if isinstance(module, nn.Linear | nn.Embedding):
            initialization.normal_(module.weight, std=self.config.model_config.initial_std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            initialization.zeros_(module.bias)

    def _set_gradient_checkpointing(
        self, enable: bool = True, gradient_checkpointing_func: Any = checkpoint, every_n_layers: int = 1
    ) -> None:
        """Block by block, by hyena's own way: the result does not depend on how PyTorch is told to do it."""
        function = gradient_checkpointing_func
        function = function.func if isinstance(function, partial) else function
        if enable and (every_n_layers != 1 or function is not checkpoint):
            raise HyenaError("gradient checkpointing is of every block and keeps what it keeps in place: leave its options out")
        self.gradient_checkpointing = self.backbone.recompute = enable

    # --- files --------------------------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *arguments: Any, **options: Any) -> Any:
        """As transformers has it, from a directory of either library. `HyenaError` where `hyena.load` would raise it.

        A head that the file lacks is drawn and reported by transformers; a backbone is all there or an error.
        """
        told, given = options.pop("output_loading_info", False), options.get("generation_config") is not None
        directory = None if pretrained_model_name_or_path is None else Path(pretrained_model_name_or_path)
        ours = directory is not None and not options.get("subfolder") and directory.is_dir() and store.is_native(directory)
        saved = store.read(directory) if ours and directory is not None else None  # what does not fit together is refused
        model, info = super().from_pretrained(pretrained_model_name_or_path, *arguments, output_loading_info=True, **options)
        _check_loaded(info, str(pretrained_model_name_or_path))
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.data = store.aligned(tensor.data)
        if saved is not None and directory is not None:
            model.tokenizer_file = saved.tokenizer_file
            if model.can_generate() and not (directory / "generation_config.json").is_file() and not given:
                model.generation_config = model.new_generation_config()
        return (model, info) if told else model

    def save_pretrained(self, save_directory: Any, is_main_process: bool = True, **options: Any) -> None:
        """As transformers has it; the directory is one that `hyena.load` reads, with a tokenizer where the model names one."""
        self.config.kind, self.config.head = self._kind(), self.head_options()
        directory, adapters = Path(save_directory), self._hf_peft_config_loaded
        if is_main_process and not adapters:
            store.remove(directory)  # of an earlier save no file must stay beside the new ones
        super().save_pretrained(save_directory, is_main_process=is_main_process, **options)
        if is_main_process and not adapters:
            self._save_tokenizer(directory)

    def _kind(self) -> str:
        """What config.json says that the model is."""
        return LanguageModel.kind

    def _save_tokenizer(self, directory: Path) -> None:
        """Beside the model, unless there is one."""
        spec = self.config.model_config.tokenizer
        if spec is not None and spec.startswith("file:"):
            file = self.tokenizer_file
            if file is not None and file.is_file() and file.resolve() != (directory / file.name).resolve():
                shutil.copyfile(file, directory / file.name)
        elif spec is not None and not (directory / "tokenizer_config.json").exists():
            make_tokenizer(spec).save_pretrained(directory)


def _check_loaded(info: dict[str, Any], source: str) -> None:
    """`HyenaError` naming tensors of the backbone that a file lacks, and tensors that no model of ours has."""
    missing = sorted(name for name in info["missing_keys"] if not name.startswith(_HEADS))
    surplus = sorted(name for name in info["unexpected_keys"] if not name.startswith(_HEADS))
    if missing or surplus:
        raise HyenaError(
            f"{source} does not fit its configuration: missing {missing[:5] or 'nothing'}; unknown {surplus[:5] or 'nothing'}"
        )


class HyenaModel(HyenaPreTrainedModel):
    """The backbone alone: hidden states, for heads of your own."""

    def forward(
        self,
        input_ids: Int[Tensor, "B L"] | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: HyenaCache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        cache: HyenaCache | None = None,
        **options: Any,
    ) -> BaseModelOutputWithPast | tuple[Any, ...]:
        """`last_hidden_state` (B, L, D) after the final norm. attention_mask (B, L): zeros where padding stands."""
        _, as_object = self._options(options)
        cache = past_key_values if cache is None else cache
        hidden, cache = self.hidden(input_ids, attention_mask, cache, inputs_embeds, use_cache)
        output = BaseModelOutputWithPast(last_hidden_state=hidden, **{CACHE: cache})
        return output if as_object else output.to_tuple()
