"""`verify`: whether a model is whole and computes what it computed when it was written, or what a reference has."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyena.checkpoints.loader import Model, Opened, load, open_model, open_native
from hyena.checkpoints.precision import PrecisionWarning
from hyena.configs.files import read_json
from hyena.errors import HyenaError
from hyena.models import store
from hyena.models.tensorfile import Tensors, open_safetensors

CLOSE = {"float32": 1e-4, "half": 0.05}
"""How far logits may be off, relative to the largest: other machines add in another order, half precision has 8 bits."""


@dataclass(frozen=True)
class Check:
    """One question."""

    name: str
    passed: bool | None
    """None: not asked, for the reason that `detail` gives."""
    detail: str


@dataclass
class Verdict:
    """What was asked and what came out."""

    path: str
    checks: list[Check] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(check.passed is not False for check in self.checks)


def verify(
    path: str | Path,
    against: str | Path | None = None,
    format: str | None = None,
    config: dict[str, Any] | str | Path | None = None,
    strict_precision: bool = False,
) -> Verdict:
    """Check files, keys, shapes, precisions and numbers of a model, and its logits of a known input.

    against: a safetensors file with `input_ids` (B, L) and `logits` (B, L, V), recorded from a reference; none given: those
    that a conversion recorded beside the model. format, config, strict_precision: as `load` takes them. Nothing is raised for a
    model that is not whole: the verdict says it.
    """
    verdict = Verdict(str(path))
    directory = store.resolve(Path(path)) if format in (None, store.FORMAT) else Path(path)
    native = format in (None, store.FORMAT) and directory.is_dir() and store.is_native(directory)
    found = _ask(verdict, "configuration", lambda: _open(directory, native, format, config, strict_precision))
    if found is None:
        return verdict
    if _ask(verdict, "tensors", lambda: _tensors(found)) is None:
        return verdict
    reference = Path(against) if against is not None else directory / store.KNOWN
    if against is None and not (native and reference.is_file()):
        verdict.checks.append(Check("known input", None, "none was recorded: name a reference with against (--against)"))
        return verdict
    _ask(verdict, "known input", lambda: _known(directory, native, format, config, reference, against is None))
    return verdict


def _ask(verdict: Verdict, name: str, question: Callable[[], Any]) -> Any:
    """Run a check; what it returns, or None where it failed."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", PrecisionWarning)
        try:
            found = question()
        except HyenaError as error:
            verdict.checks.append(Check(name, False, str(error)))
            return None
    verdict.checks.append(Check(name, True, found[1]))
    if name == "configuration":
        verdict.checks += [Check("precision", None, str(w.message)) for w in said if w.category is PrecisionWarning]
    return found[0]


def _open(
    path: Path, native: bool, format: str | None, config: dict[str, Any] | str | Path | None, strict: bool
) -> tuple[Opened, str]:
    """The checkpoint, without reading its tensors."""
    opened = open_native(path, strict) if native else open_model(path, format, config, strict)
    c = opened.skeleton.config
    return opened, f"pattern {c.pattern}, width {c.width}, {opened.skeleton.parameter_count():,} parameters"


def _tensors(opened: Opened) -> tuple[bool, str]:
    """Every key, shape and precision, and that every number is finite; one tensor at a time."""
    wanted = {name: tensor.shape for name, tensor in opened.skeleton.state_dict().items()}
    wide, count, dtypes = store.wide_names(opened.skeleton), 0, set()
    for name, tensor in opened.values:
        if name not in wanted or tensor.shape != wanted[name]:
            raise HyenaError(f"{opened.source}: {name} with shape {tuple(tensor.shape)} does not fit its configuration")
        if not tensor.is_floating_point():
            raise HyenaError(f"{opened.source}: {name} is {tensor.dtype}: a floating point type is needed")
        if not tensor.isfinite().all():
            raise HyenaError(f"{opened.source}: {name} holds {int((~tensor.isfinite()).sum())} numbers that are not finite")
        count += 1
        dtypes |= set() if name in wide else {str(tensor.dtype).removeprefix("torch.")}
    if count != len(wanted):
        raise HyenaError(f"{opened.source} has {count} of the {len(wanted)} tensors of its configuration")
    return True, f"{count} keys and shapes fit, all numbers are finite; {' and '.join(sorted(dtypes))}"


def _known(
    path: Path, native: bool, format: str | None, config: dict[str, Any] | str | Path | None, file: Path, own: bool
) -> tuple[bool, str]:
    """The logits of a known input."""
    reference = open_safetensors(file)
    for name in ("input_ids", "logits"):
        if name not in reference:
            raise HyenaError(f"{file} has no tensor {name}: input_ids (B, L) and logits (B, L, V) are needed")
    if own and reference.metadata.get("save_id") != read_json(path / store.CONFIG).get("save_id"):
        raise HyenaError(f"{file} and the weights come from two different saves: convert the model again")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrecisionWarning)
        model = load(path, store.FORMAT if native else format, config)
    off, largest, bound = _difference(model, reference, file)
    where = "recorded when it was written" if own else f"of {file}"
    text = f"logits {where} differ by {off:.2g}, the largest is {largest:.3g}"
    if not off <= bound:
        raise HyenaError(f"{text}: at most {bound:.2g} is rounding")
    return True, text


@torch.no_grad()
def _difference(model: Model, reference: Tensors, file: Path) -> tuple[float, float, float]:
    """Greatest difference, largest value, and what rounding explains."""
    ids, wanted = reference["input_ids"], reference["logits"]
    _fits(model, ids, file)
    found = model(ids)
    if found.shape != wanted.shape:
        raise HyenaError(f"{file}: logits have shape {tuple(wanted.shape)}, the model's are {tuple(found.shape)}")
    half = min(found.dtype.itemsize, wanted.dtype.itemsize) < 4
    largest = float(wanted.abs().max())
    return (
        float((found.double() - wanted.double()).abs().max()),
        largest,
        CLOSE["half" if half else "float32"] * max(largest, 1),
    )


def _fits(model: Model, ids: Tensor, file: Path) -> None:
    """Ids that the model has."""
    if ids.dtype not in (torch.int64, torch.int32) or ids.ndim != 2 or not ids.numel():
        raise HyenaError(f"{file}: input_ids is {ids.dtype} {tuple(ids.shape)}: whole numbers (B, L) are needed")
    if int(ids.min()) < 0 or int(ids.max()) >= model.config.rows:
        raise HyenaError(
            f"{file}: input_ids reach from {int(ids.min())} to {int(ids.max())}, the model has {model.config.rows}"
        )
