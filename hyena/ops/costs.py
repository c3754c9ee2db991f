"""What `plan` compares: measured costs of every backend on one core, shipped, or measured by the user on their own machine."""

import functools
import json
import math
import os
import platform
import warnings
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

Curve = tuple[tuple[float, float], ...]
"""(log2 of a length, nanoseconds), lengths ascending; read by linear interpolation, flat beyond its ends."""


@dataclass(frozen=True)
class Costs:
    """Nanoseconds on one core, float32. `_grad`: forward and backward together, all gradients."""

    direct_call: float = 30_000.0
    """A call of the direct convolution by PyTorch, whatever the size."""
    direct_call_grad: float = 120_000.0
    direct: float = 2.0
    """A token there, and each of its multiply-adds."""
    direct_tap: float = 0.05
    direct_grad: float = 8.0
    direct_tap_grad: float = 1.2
    fft_call: float = 60_000.0
    """A call of PyTorch's transforms, whatever the size."""
    fft_call_grad: float = 200_000.0
    fft: Curve = ((6, 6.0), (20, 9.0))
    """A point of a row there, by the transform's points: forward, and the transform of its filter a half."""
    fft_grad: Curve = ((6, 18.0), (20, 27.0))
    block: float = 40_000.0
    """One more block of the blocked convolution, whatever its size."""
    kernel_call: float = 15_000.0
    """A call of the kernel."""
    kernel_call_grad: float = 60_000.0
    row: float = 150.0
    """A row (one channel of one sequence) that the kernel works tap by tap, whatever its length."""
    fir: float = 0.6
    """A token there, and each of its multiply-adds."""
    fir_tap: float = 0.036
    row_grad: float = 300.0
    fir_grad: float = 2.0
    fir_tap_grad: float = 0.15
    native: Curve = ((6, 2.8), (8, 2.2), (10, 2.6), (12, 2.9), (14, 3.4), (16, 4.0), (18, 5.0), (20, 7.5))
    """A point of a row by the kernel's transforms, by their points: forward, and the transform of its filter a half."""
    native_grad: Curve = ((6, 8.5), (8, 7.0), (10, 8.0), (12, 9.0), (14, 11.0), (16, 12.0), (18, 15.0), (20, 24.0))

    def __post_init__(self) -> None:
        """A table from a file may hold anything."""
        for field in fields(self):
            value = getattr(self, field.name)
            numbers = [n for pair in value for n in pair] if isinstance(value, tuple) else [value]
            if not numbers or not all(isinstance(n, float | int) and math.isfinite(n) and n >= 0 for n in numbers):
                raise ValueError(f"{field.name} must be finite and not negative")


CPU = Costs()
"""Rounded from measurements on one AVX2 machine; `reports/costs.md` holds its choices against the clock. What counts is which
backend is cheaper, and that carries over to other processors better than the figures."""


def read(curve: Curve, length: int) -> float:
    """The curve's value at a length."""
    x = math.log2(length)
    below = [p for p in curve if p[0] <= x] or [curve[0]]
    above = [p for p in curve if p[0] >= x] or [curve[-1]]
    (x0, y0), (x1, y1) = below[-1], above[0]
    return y0 if x1 <= x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def path() -> Path:
    """Where the user's own table is kept."""
    root = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(root) / "hyena" / "costs.json"


def machine() -> str:
    """What a table holds for: the processor, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def save(costs: Costs, where: Path | None = None) -> Path:
    """Write the user's own table, whole or not at all; processes that start afterwards use it."""
    where = where or path()
    where.parent.mkdir(parents=True, exist_ok=True)
    part = where.with_suffix(".part")
    part.write_text(json.dumps({"machine": machine(), "costs": asdict(costs)}, indent=1) + "\n", encoding="utf-8")
    part.replace(where)
    return where


def load(where: Path) -> Costs:
    """A table that `save` wrote. Raises ValueError in words where it is of another machine or not a table."""
    held = json.loads(where.read_text(encoding="utf-8"))
    if not isinstance(held, dict) or not isinstance(held.get("costs"), dict):
        raise ValueError("it holds no costs")
    if held.get("machine") != machine():
        raise ValueError(f"it was measured on {held.get('machine')!r}, this is {machine()!r}")
    values = held["costs"]
    unknown = sorted(set(values) ^ {field.name for field in fields(Costs)})
    if unknown:
        raise ValueError(f"it is of another version: {', '.join(unknown)}")
    table: dict[str, Any] = {name: tuple(map(tuple, v)) if isinstance(v, list) else v for name, v in values.items()}
    return Costs(**table)


@functools.cache
def in_force() -> tuple[Costs, str]:
    """The table that `plan` uses in this process, and in words which: the user's own where there is one for this machine."""
    where = path()
    try:
        return load(where), f"measured on this machine: {where}"
    except FileNotFoundError:
        return CPU, "as shipped; hyena bench ops --calibrate measures this machine"
    except (OSError, ValueError, TypeError) as error:
        why = f"{where} is not used: {' '.join(str(error).split())}"
        warnings.warn(f"{why}; hyena bench ops --calibrate writes a new one", RuntimeWarning, stacklevel=2)
        return CPU, f"as shipped; {why}"
