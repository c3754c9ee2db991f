"""Models into files of any format, the mirror of `load`: written beside the place, read back, compared, then moved there."""

import copy
import json
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyena.checkpoints import striped_export
from hyena.checkpoints.account import Account
from hyena.checkpoints.express import PUBLISHED, Model, express
from hyena.checkpoints.files import check_free, new_directory, write_stored, write_tensors
from hyena.checkpoints.known import known_ids, record
from hyena.checkpoints.loader import STRIPED, Opened, load, open_model, open_native
from hyena.checkpoints.parametrise import parametrised
from hyena.checkpoints.precision import PrecisionWarning
from hyena.configs.files import nearest
from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError
from hyena.models import LanguageModel, store

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
COMPARED_PARAMETERS = 20_000_000
"""Models up to this size are run, to compare their logits, when they have been written."""


@dataclass(frozen=True)
class Exported:
    """What `export` wrote and how it was verified."""

    format: str
    parameters: int
    """Trainable numbers; tied ones count once."""
    dtypes: tuple[str, ...]
    """Of the tensors, the most frequent first."""
    tensors: int
    """Tensors that were read back and are equal, bit for bit."""
    tokens: int
    """Ids whose logits were compared; 0: the model is too large for that."""


def export(
    model: Model, path: str | Path, format: str = store.FORMAT, drop: Collection[str] = (), overwrite: bool = False
) -> Exported:
    """Write a model as a directory that `load(path, format)` reads back as the same model; the model is left as it is.

    format: "hyena" (as `model.save`), "safari" (model.ckpt + config.json), "hyenadna" (weights.ckpt + config.json),
    "hyenadna-hf" or "stripedhyena" (model.safetensors + config.json) or "vortex" (model.pt + config.json). A model that was
    loaded from one of the last two and goes back to it is written as it was: keys, their order, precisions, configuration.
    drop: options to give up where the format cannot express them (`express.LOOSE`); none of them changes the function.
    overwrite: replace a directory that holds a model and nothing else.

    What was written is read back: configuration and tensors must be equal, and the logits of small models within rounding.
    Raises `HyenaError` for an option that the format cannot express, before anything is written; after any error nothing is
    left and what was at `path` is there still.
    """
    path = Path(path)
    _known(format)
    if format == store.FORMAT and drop:
        raise HyenaError(f"drop is {list(drop)}: format {store.FORMAT!r} expresses every option, leave it out")
    original, model = model, parametrised(model) if format in STRIPED else model
    options, config = express(model, format, drop) if format in PUBLISHED else ({}, model.config)
    with new_directory(path, overwrite) as part:
        if format in PUBLISHED:
            _write(model, options, part, format)
        else:
            model.save(part)
        done = _verify(model, config, part, path, format)
        if original is not model and done.tokens:
            _compare_logits(original, model, path)
        if format == store.FORMAT:
            record(model, part)
        return done


def convert(
    source: str | Path,
    path: str | Path,
    to: str = store.FORMAT,
    format: str | None = None,
    config: dict[str, Any] | str | Path | None = None,
    dtype: str | None = None,
    drop: Collection[str] = (),
    overwrite: bool = False,
    strict_precision: bool = False,
) -> Exported:
    """`load(source, format, config, strict_precision)`, then `export(model, path, to, drop, overwrite)`.

    dtype: "float32", "bfloat16" or "float16" for the weights on the way. Filters, their grids and rotary frequencies stay in
    float32, as in every half-precision model here. A finite weight that becomes infinite is a `HyenaError` that names it.
    """
    _known(to)
    check_free(Path(path), overwrite)
    if dtype is not None and dtype not in DTYPES:
        raise HyenaError(f"unknown dtype {dtype!r}{nearest(dtype, DTYPES)}: use one of {', '.join(DTYPES)}")
    model = load(source, format, config, strict_precision)
    if dtype is not None:
        _cast(model, dtype)
    return export(model, path, to, drop, overwrite)


def _known(format: str) -> None:
    """Raise `HyenaError` for a format that nobody knows."""
    formats = [store.FORMAT, *PUBLISHED]
    if format not in formats:
        raise HyenaError(f"unknown format {format!r}{nearest(format, formats)}: use one of {', '.join(formats)}")


def _cast(model: Model, dtype: str) -> None:
    """Change the precision of a model, in place."""
    before = model.state_dict()
    model.to(DTYPES[dtype])
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all() and before[name].isfinite().all():
            largest = float(before[name].abs().max())
            raise HyenaError(f"{name} holds {largest:g}, which is infinite in {dtype}: use bfloat16 or float32")


def _write(model: Model, options: dict[str, Any], directory: Path, name: str) -> None:
    """A published model's two files. Every tensor of ours is used exactly once."""
    format = PUBLISHED[name]
    if format.tensors is None:
        assert isinstance(model, LanguageModel)  # `express` has refused a classifier
        write_stored(striped_export.layout(name, model, options), directory / format.file, format.key)
    else:
        values = Account(model.state_dict(), "the model")
        tensors = format.tensors(values, model.config)
        values.close()
        if name == "hyenadna-hf":
            options = options | {"torch_dtype": str(model.backbone.embedding.weight.dtype).removeprefix("torch.")}
        write_tensors(tensors, directory / format.file, format.key)
    (directory / store.CONFIG).write_text(json.dumps(options, indent=1) + "\n")


def _verify(model: Model, config: ModelConfig, directory: Path, path: Path, format: str) -> Exported:
    """Read back what was written, a tensor at a time, and compare; `HyenaError` where it is not the same model."""
    parameters = model.parameter_count()
    tokens = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PrecisionWarning)  # `load` has said it
            again = open_native(directory) if format == store.FORMAT else open_model(directory, format, None)
            count = _compare(model, config, again, path)
            if parameters <= COMPARED_PARAMETERS:
                tokens = _compare_logits(model, load(directory, format), path)
    except HyenaError as error:
        if str(error).startswith(f"{path} was not written"):
            raise
        raise HyenaError(_failed(path, str(error).replace(str(directory), str(path)))) from None
    names = [str(tensor.dtype).removeprefix("torch.") for tensor in model.state_dict().values()]
    dtypes = tuple(sorted(set(names), key=names.count, reverse=True))
    return Exported(format, parameters, dtypes, count, tokens)


def _compare(model: Model, config: ModelConfig, again: Opened, path: Path) -> int:
    """Kind, configuration and tensors, bit for bit; the number of tensors."""
    other = again.skeleton
    if type(other) is not type(model) or other.head_options() != model.head_options():
        raise HyenaError(_failed(path, f"{type(model).__name__} became {type(other).__name__} {other.head_options()}"))
    if _comparable(other.config) != _comparable(config):
        raise HyenaError(_failed(path, "the configuration differs"))
    left, wide = model.state_dict(), store.wide_names(other)
    count = len(left)
    for name, tensor in again.values:
        found = tensor.float() if name in wide and tensor.dtype.itemsize < 4 else tensor
        if name not in left or not _equal(left.pop(name), found):
            raise HyenaError(_failed(path, f"{name} differs"))
    if left:
        raise HyenaError(_failed(path, f"{next(iter(left))} differs"))
    return count


def _failed(path: Path, what: str) -> str:
    """The message for what would be a defect here, not in the input."""
    return f"{path} was not written: read back, it is not the same model ({what}); please report this"


def _comparable(config: ModelConfig) -> dict[str, Any]:
    """The configuration as a file has it; a tokenizer's file moves with the model, so its name alone counts."""
    values = config.to_dict()
    spec = config.tokenizer
    return values | ({"tokenizer": f"file:{Path(spec).name}"} if spec is not None and spec.startswith("file:") else {})


def _equal(a: Tensor, b: Tensor) -> bool:
    """The same bits in the same shape and dtype: NaN equals itself, and 0 is not -0."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    bits = [x.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for x in (a, b)]
    return torch.equal(*bits)


def _compare_logits(model: Model, again: Model, path: Path) -> int:
    """Run both on fixed ids, up to 64; the number of ids, or `HyenaError` where the logits differ by more than rounding.

    Equal tensors at other places in memory may be added in another order, so that equal bits cannot be asked for.
    """
    ids = known_ids(model)
    reference = copy.deepcopy(model).cpu().eval()
    with torch.no_grad():
        wanted, found = reference(ids).double(), again(ids).double()
    half = model.backbone.embedding.weight.dtype in (torch.float16, torch.bfloat16)
    largest = max([1e-6, *wanted[wanted.isfinite()].abs().tolist()])
    if not torch.allclose(found, wanted, rtol=0, atol=(0.05 if half else 1e-4) * largest, equal_nan=True):
        raise HyenaError(_failed(path, f"logits differ by {float((found - wanted).abs().max()):g}"))
    return ids.shape[1]
