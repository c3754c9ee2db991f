"""Run by the interpreter of another environment: times nvsubquadratic's causal float32 convolution as its parent asks.

Standard library, PyTorch and nvsubquadratic alone, nothing of this package: the environment need not have it. A line of JSON
in, a line of JSON out; `hyena/bench/foreign.py` is the other side. The gates are multiplied around it as a user would.

    {"ask": "hello"}                                                  -> versions
    {"ask": "set", "shape": {...}, "gradient": bool, "threads": n}     -> {}          inputs as bench/rivals.py draws them
    {"ask": "time", "calls": n}                                       -> {"seconds": s}
    {"ask": "save", "path": file}                                     -> {}          y as bare float32
    {"ask": "memory"}                                                 -> {"bytes": b}  extra at the peak of one computation
"""

import importlib
import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

State = dict[str, Any]


def set_up(shape: dict[str, int], gradient: bool, threads: int) -> State:
    """The inputs and the call."""
    torch.set_num_threads(threads)
    convolve = importlib.import_module("nvsubquadratic.ops.fftconv").causal_fftconv1d_fp32_bhl
    B, D, L, K, G = (shape[name] for name in "BDLKG")
    draw = torch.Generator().manual_seed(0)
    u, pre, post = (torch.randn(B, D, L, generator=draw) for _ in range(3))
    h = torch.randn(G, K, generator=draw) * torch.exp(-torch.arange(K) * (4 / K))
    h = (h / h.norm(dim=-1, keepdim=True)).repeat_interleave(D // G, dim=0)
    skip = torch.randn(D, generator=draw)
    leaves = [t.requires_grad_(gradient) for t in (u, h, skip, pre, post)]

    def forward() -> torch.Tensor:
        return post * convolve(pre * u, h[None, :, :L], skip)

    return {"forward": forward, "leaves": leaves, "gradient": gradient, "run": _computation(forward, leaves, gradient)}


def _computation(forward: Callable[[], torch.Tensor], leaves: list[torch.Tensor], gradient: bool) -> Callable[[], object]:
    """The forward without gradients, or the forward and the gradient for every input."""
    if not gradient:

        def alone() -> torch.Tensor:
            with torch.no_grad():
                return forward()

        return alone
    gy = torch.randn_like(leaves[0])
    return lambda: torch.autograd.grad(forward(), leaves, gy)


def answer(order: dict[str, Any], state: State) -> dict[str, Any]:
    """One answer; `state` is what the last "set" made."""
    ask = order["ask"]
    if ask == "hello":
        importlib.import_module("nvsubquadratic.ops.fftconv")
        return {"nvsubquadratic": importlib.metadata.version("nvsubquadratic"), "torch": torch.__version__}
    if ask == "set":
        state.clear()
        state.update(set_up(order["shape"], order["gradient"], order["threads"]))
        return {}
    if ask == "time":
        run, calls = state["run"], order["calls"]
        began = time.perf_counter()
        for _ in range(calls):
            run()
        return {"seconds": time.perf_counter() - began}
    if ask == "save":
        with torch.no_grad():
            Path(order["path"]).write_bytes(state["forward"]().numpy().tobytes())
        return {}
    if ask == "memory":
        return {"bytes": extra_bytes(state)}
    raise ValueError(f"unknown order {ask!r}")


def extra_bytes(state: State) -> int | None:
    """The largest resident size of one computation beyond inputs and results; None where the system does not tell."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    results = [torch.ones_like(t) for t in (state["leaves"][0], *(state["leaves"] if state["gradient"] else ()))]
    start = _status("VmRSS")
    del results
    Path("/proc/self/clear_refs").write_text("5")
    state["run"]()
    return max(0, _status("VmHWM") - start)


def _status(key: str) -> int:
    """A size from Linux' account of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def main() -> None:
    """Answer until the parent closes the pipe; an error is an answer too."""
    state: State = {}
    for line in sys.stdin:
        try:
            found = answer(json.loads(line), state)
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
