"""`open_model`: any known checkpoint as a configuration and a stream of our tensors; `load` makes it a model."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyena.checkpoints import fixups, hyenadna, precision, safari, striped, striped_config
from hyena.checkpoints.account import Account, renamed
from hyena.checkpoints.files import published_config, read_tensors, weights_file
from hyena.checkpoints.pickles import Pickled
from hyena.configs.files import nearest, read_json
from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError
from hyena.models import Classifier, LanguageModel, store
from hyena.models import load as load_native
from hyena.models.heads import skeleton
from hyena.models.published import Published
from hyena.models.tensorfile import Tensors

Model = LanguageModel | Classifier
STRIPED: dict[str, Callable[[dict[str, Any]], ModelConfig]] = {
    "stripedhyena": striped_config.striped_config,
    "vortex": striped_config.vortex_config,
}
FORMATS = ("safari", "hyenadna", "hyenadna-hf", *STRIPED)
_SAVANNA = (
    "savanna's own checkpoints (DeepSpeed shards, layers by pipeline stage) are not read: convert them with savanna's "
    "tools/convert_checkpoint_to_vortex.py, then use format vortex"
)


@dataclass(frozen=True)
class Opened:
    """A checkpoint of which the configuration is read, and the tensors are not."""

    skeleton: Model
    """The model without content, on the meta device."""
    values: Iterable[tuple[str, Tensor]]
    """Our names and tensors, in the precision of the file, each read when it is asked for; once."""
    source: str
    published: Published | None = None
    """What is kept of the checkpoint, where its format has more than our tensors."""


def load(
    path: str | Path,
    format: str | None = None,
    config: dict[str, Any] | str | Path | None = None,
    strict_precision: bool = False,
) -> Model:
    """A model from disk, in evaluation mode: ours (a directory written by `model.save`) or a published checkpoint.

    path: a directory, or a file of weights (.safetensors, an index of shards, .ckpt, .pt or its parts, .bin; pickles are
    read without running their code).
    format: "safari", "hyenadna" (the original checkpoint), "hyenadna-hf", "stripedhyena" (Evo 1), "vortex" (Evo 2) or "hyena"
    (ours); not needed where the directory tells it.
    config: the published configuration, a dictionary, a JSON or a flat YAML file; the one beside the weights where not given.
    strict_precision: refuse a checkpoint that was published for fp8, which is not computed here, in place of a warning.

    Every key of file and configuration is used exactly once. Raises `HyenaError` naming what does not fit.
    """
    path = store.resolve(Path(path)) if format in (None, store.FORMAT) else Path(path)
    if format == store.FORMAT or (format is None and path.is_dir() and store.is_native(path)):
        if config is not None:
            raise HyenaError(f"{path} carries its own configuration: leave config= out")
        model = load_native(path)
        if model.published is not None:
            precision.check(model.published.config, str(path), strict_precision)
        return model
    opened = open_model(path, format, config, strict_precision)
    model = opened.skeleton
    store.assign(model, dict(opened.values), opened.source)
    if opened.published is not None:
        model.published = _with_dtypes(opened.published, model)
        _take_tokenizer(model, opened)
    return model.eval()


def open_model(
    path: Path, format: str | None, config: dict[str, Any] | str | Path | None, strict_precision: bool = False
) -> Opened:
    """A published checkpoint; nothing of its tensors is read yet."""
    format = format or recognise(path)
    if format == "savanna":
        raise HyenaError(f"{path}: {_SAVANNA}")
    if format not in FORMATS:
        raise HyenaError(f"unknown format {format!r}{nearest(format, FORMATS)}: use one of {', '.join(FORMATS)}, hyena")
    file = weights_file(path)
    published = published_config(path, config)
    tensors, source = read_tensors(file), str(file)
    if format in STRIPED:
        precision.check(published, source, strict_precision)
        return _striped(format, tensors, published, source)
    head = None
    if format == "safari":
        ours, values = safari.language_model(tensors, published, source)
    elif format == "hyenadna":
        ours, head, values = hyenadna.original(tensors, published, source)
    else:
        ours, head, values = hyenadna.transformers_port(tensors, published, source)
    with torch.device("meta"):
        model = LanguageModel(ours) if head is None else Classifier(ours, **head)
    return Opened(model, values.items(), source)


def open_native(directory: Path, strict_precision: bool = False) -> Opened:
    """What `model.save` wrote; nothing of its tensors is read yet."""
    saved = store.read(directory)
    if saved.published is not None:
        precision.check(saved.published.config, str(directory), strict_precision)
    model = skeleton(saved, directory)
    store.check_fit(model, saved.tensors, str(directory))
    return Opened(model, saved.tensors.items(), str(directory), saved.published)


def _striped(format: str, tensors: Tensors, config: dict[str, Any], source: str) -> Opened:
    """stripedhyena and vortex."""
    ours = STRIPED[format](config)
    with torch.device("meta"):
        model = LanguageModel(ours)
    pairs = striped.pairs(format, ours, config)
    plain = renamed(tensors, fixups.plain_key, source)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    values = striped.values(pairs, Account(plain, source), shapes, ours.tied)
    kept = {key: tensors[key] for key in tensors if fixups.kept_keys([fixups.plain_key(key)])}
    for key, stored in tensors.stored.items():
        if key.endswith("rotary_emb.inv_freq") and stored.dtype.itemsize < 4:
            kept[key] = tensors[key]
    names = {pair.theirs: pair.ours for pair in pairs}
    dtypes = {names[p]: str(tensors.stored[k].dtype) for k in tensors if (p := fixups.plain_key(k)) in names}
    kinds = tensors.kinds if isinstance(tensors, Pickled) else {}
    return Opened(model, values, source, Published(format, config, tuple(tensors), dtypes, kinds, kept))


def _with_dtypes(published: Published, model: Model) -> Published:
    """Of the precisions of the file those that the model does not have itself."""
    state = model.state_dict()
    other = {name: dtype.removeprefix("torch.") for name, dtype in published.dtypes.items() if str(state[name].dtype) != dtype}
    return Published(published.format, published.config, published.keys, other, published.kinds, published.tensors)


def _take_tokenizer(model: Model, opened: Opened) -> None:
    """A tokenizer's file that the published configuration names, where it lies beside the weights."""
    name = (opened.published.config if opened.published else {}).get("vocab_file")
    folder = Path(opened.source).parent
    file = next((f for f in (folder / str(name), folder / Path(str(name)).name) if name and f.is_file()), None)
    if file is not None and model.config.tokenizer is None:
        model.config = model.backbone.config = model.config.replace(tokenizer=f"file:{file.name}")
        model.tokenizer_file = file


def recognise(path: Path) -> str:
    """The format of a published checkpoint, where the configuration beside it and file names tell it."""
    if not path.exists():
        raise HyenaError(f"{path} does not exist: give a checkpoint's file or directory")
    if path.is_dir() and (path / "config.json").is_file():
        config = read_json(path / "config.json")
        if config.get("model_type") == "hyenadna":
            return "hyenadna-hf"
        if found := _striped_format(config):
            return found
        if (path / "weights.ckpt").is_file():  # the layout of the LongSafari/hyenadna-*-seqlen releases alone
            return "hyenadna"
    one_yaml = path.is_dir() and len([*path.glob("*.yml"), *path.glob("*.yaml")]) == 1
    if one_yaml and not (path / "config.json").is_file() and (found := _striped_format(published_config(path, None))):
        return found
    if (path / "run.toml").is_file():
        raise HyenaError(f"{path} holds a run without a checkpoint yet: go on with `hyena train {path} --resume`")
    if path.is_file() and store.is_native(path.parent):
        raise HyenaError(f"{path} is part of the model in {path.parent}: load that directory")
    raise HyenaError(f"{path} does not say what it is: pass format= one of {', '.join(FORMATS)}")


def _striped_format(config: Mapping[str, Any]) -> str | None:
    """By the lists of layers that only these formats have."""
    if "hcl_layer_idxs" in config:
        return "vortex"
    return "stripedhyena" if "hyena_layer_idxs" in config else None
