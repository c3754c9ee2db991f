"""`hyena info [--json]`: what is installed, what the machine has, which kernel is used, which backend computes what and why."""

import dataclasses
import importlib.metadata
import importlib.util
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyena.cli.parse import parse
from hyena.cli.sizes import parse_bytes
from hyena.errors import HyenaError

DESCRIPTION = "Versions, devices, and which backend computes what and why."
_PACKAGES = ("torch", "numpy", "einops", "safetensors", "jaxtyping", "tyro", "rich", "tomli-w")
_EXTRAS = {
    "text": ("tokenizers",),
    "report": ("matplotlib",),
    "tensorboard": ("tensorboard",),
    "bench": ("scipy",),
    "hf": ("transformers", "tokenizers", "accelerate", "peft"),
    "eval": ("lm_eval",),
}
# Shapes (B, D, L, K) that stand for what the library is used for.
_SHAPES = {
    "short convolution": (16, 384, 1024, 3),
    "training, filter as long as the sequence": (16, 128, 256, 256),
    "one long sequence": (1, 256, 65536, 65536),
    "medium filter, long sequence": (1, 256, 65536, 128),
}


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena info`."""

    model: Path | None = None
    """Directory of a model: tell what scoring or embedding one sequence of `--length` tokens takes, in place of the rest."""
    length: int | None = None
    """Tokens; none given: the model's max_length."""
    max_memory: str | None = None
    """Bytes beyond the weights to work in, 500M, 2G, ...; none given: as many as are fastest."""
    json: bool = False
    """Print one JSON object."""


def run(arguments: list[str]) -> int:
    """Gather and print."""
    a = parse(Arguments, arguments, "hyena info", DESCRIPTION)
    if a.model is None and (a.length is not None or a.max_memory is not None):
        raise HyenaError("--length and --max-memory tell of a model: name one by --model DIR")
    facts = gather() if a.model is None else _estimate(a.model, a.length, a.max_memory, a.json)
    if a.json:
        print(json.dumps(facts, indent=1))
        return 0
    for title, values in facts.items():
        print(f"{title}:")
        for name, value in values.items():
            print(f"  {name:<42} {value if not isinstance(value, dict) else value['backend'] + ': ' + value['reason']}")
    return 0


def _estimate(directory: Path, length: int | None, max_memory: str | None, plain: bool) -> dict[str, dict[str, Any]]:
    """What a sequence takes, before it is read; plain: as numbers."""
    import hyena
    from hyena.models import estimate_memory

    budget = None if max_memory is None else parse_bytes(max_memory, "max_memory")
    model = hyena.load(directory)
    length = model.config.max_length if length is None else length
    if length < 1:
        raise HyenaError(f"length is {length}: use at least 1 token")
    found = estimate_memory(model, length, max_memory=budget)
    return {"estimate": dataclasses.asdict(found)} if plain else {f"{directory}, {length:,} tokens": found.sentences()}


def gather() -> dict[str, dict[str, Any]]:
    """versions, extras, devices, kernel, backends (the long convolution's plan for typical shapes)."""
    import torch

    from hyena import __version__
    from hyena.ops import costs, plan

    versions = {"hyena": __version__, "python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    extras = {}
    for extra, modules in _EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        extras[extra] = f"missing: pip install 'hyena[{extra}]'" if missing else "installed"
    devices: dict[str, Any] = {"cpu": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"}
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        devices[f"cuda:{i}"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    kernel = _kernel()
    backends: dict[str, Any] = {}
    for name, (B, D, L, K) in _SHAPES.items():
        for grad in (False, True):
            choice = plan(B, D, L, K, D, needs_grad=grad, threads=torch.get_num_threads())
            backends[f"{name}, {'with' if grad else 'no'} gradient"] = {
                "shape": {"B": B, "D": D, "L": L, "K": K},
                "backend": choice.backend,
                "reason": choice.reason,
            }
    return {
        "versions": versions,
        "extras": extras,
        "devices": devices,
        "kernel": kernel,
        "costs": {"table": costs.in_force()[1]},
        "backends": backends,
    }


def _kernel() -> dict[str, Any]:
    """The compiled kernel in use and why, or why none; and what became of every instruction set."""
    from hyena.ops import kernel, native

    kernel.available()  # a kernel that fails its check is not used, and the status says so
    status = native.status()
    libraries = dict(status.refused) if status.isa is None else {status.isa: f"in use, {status.path}", **status.refused}
    return {"used": status.isa or "none", "reason": status.reason} | {
        isa: libraries[isa] for isa in native.LEVELS if isa in libraries
    }
