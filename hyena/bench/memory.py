"""Peak extra memory of one computation: what the process needs at most beyond its inputs and its results.

A process of its own allocates the inputs and as much as the results take, touches them, and notes its resident size; then it
gives the room of the results back, computes once, and reads the largest resident size since. What a C library's heap keeps, a
first call's code pages and the threads' stacks are out of it: large blocks go back to the system at once
(MALLOC_MMAP_THRESHOLD_), and a small computation of the same kind went before.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from hyena.bench.rivals import RIVALS, Shape, computation, operands
from hyena.errors import HyenaError

HEAP = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
_SMALL = 2048
"""Tokens of the computation that goes before."""


@dataclass(frozen=True)
class Memory:
    """Extra memory at the peak."""

    extra_bytes: int
    outputs: float
    """The same in multiples of the output tensor y (B, D, L)."""

    @classmethod
    def of(cls, extra_bytes: int, shape: Shape) -> "Memory":
        """For float32."""
        return cls(extra_bytes, extra_bytes / (4 * shape.points))


def measure(name: str, shape: Shape, gradient: bool, threads: int) -> Memory:
    """Peak extra memory of the rival of that name, in a process of its own; `HyenaError` where that process fails."""
    order = json.dumps({"name": name, "shape": asdict(shape), "gradient": gradient, "threads": threads})
    environment = os.environ | HEAP
    command = [sys.executable, "-m", "hyena.bench.memory", order]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise HyenaError(f"the memory of {name} at {shape.L} tokens could not be measured: status {done.returncode}, {last}")
    return Memory.of(int(done.stdout.splitlines()[-1]), shape)


def extra_bytes(name: str, shape: Shape, gradient: bool) -> int:
    """In the process that is measured: the figure of one computation."""
    with torch.set_grad_enabled(gradient):
        small = min(shape.L, _SMALL)
        before = Shape(shape.B, shape.D, small, min(shape.K, small), shape.G)
        computation(RIVALS[name].prepare(operands(before, gradient)), gradient)()
        o = operands(shape, gradient)
        compute = computation(RIVALS[name].prepare(o), gradient)
        results = [torch.zeros_like(t.detach()) for t in (o.u, *(o if gradient else ()))]
        start = _resident(results)
        kept = compute()
        largest = peak()
        del kept
        return max(0, largest - start)


def _resident(results: list[Tensor]) -> int:
    """The resident size with the results in it, which are emptied; from here on the peak counts anew where that can be."""
    for t in results:
        t.fill_(1)
    with_them = _status("VmRSS")
    results.clear()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return peak()
    return peak() if with_them is None else with_them


def peak() -> int:
    """The largest resident size so far."""
    of_status = _status("VmHWM")
    if of_status is not None:
        return of_status
    import resource  # not on every system

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status(key: str) -> int | None:
    """A size from Linux' account of this process in bytes, None elsewhere."""
    path = Path("/proc/self/status")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    return None


def main() -> None:
    """Write the figure for the order in the command line, which is JSON, to stdout."""
    order = json.loads(sys.argv[1])
    torch.set_num_threads(order["threads"])
    sys.stdout.write(f"{extra_bytes(order['name'], Shape(**order['shape']), order['gradient'])}\n")


if __name__ == "__main__":
    main()
