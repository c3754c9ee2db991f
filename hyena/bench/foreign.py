"""nvsubquadratic as a rival: a child process in an environment of its own, which stays and answers round after round.

Its package asks for a newer PyTorch and much else, so it does not share an environment with this one. An environment that is
enough for its CPU path:

    python -m venv DIR
    DIR/bin/pip install torch==2.13.0 numpy einops omegaconf
    DIR/bin/pip install --no-deps nvsubquadratic==0.2.0

Seconds are taken inside the child, so the pipe is not timed. `nvsubquadratic_child.py` is the other side.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hyena.bench.memory import HEAP, Memory
from hyena.bench.rivals import Operands, Rival, Shape, Work
from hyena.errors import HyenaError

NAME = "nvsubquadratic"


class Foreign:
    """The child process; a context manager that ends it."""

    def __init__(self, interpreter: Path, environment: Mapping[str, str] | None = None):
        """interpreter: the python of the environment; environment: variables to set there.

        Raises `HyenaError` where it does not run or lacks the package.
        """
        self._interpreter = interpreter
        script = Path(__file__).with_name("nvsubquadratic_child.py")
        # -P: the directory of the script is not searched for modules, so this package's files cannot hide the environment's.
        command = [str(interpreter), "-P", str(script)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C is ours to answer
            )
        except OSError as error:
            raise HyenaError(f"{interpreter} cannot be run: {error.strerror}; name the python of an environment") from None
        try:
            self.versions: dict[str, str] = self._ask(ask="hello")
        except HyenaError:
            self.close()
            raise

    def __enter__(self) -> "Foreign":
        """The child itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """End the child, whatever it is at."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not sent any more
                    pipe.close()

    @property
    def rival(self) -> Rival:
        """It as one of the rivals."""
        return Rival(NAME, f"{NAME} {self.versions[NAME]}", self._prepare)

    def memory(self, shape: Shape, gradient: bool, threads: int) -> Memory | None:
        """Extra memory at the peak of one call, in a process of its own; None where the system does not tell."""
        with Foreign(self._interpreter, HEAP) as fresh:
            fresh.set(shape, gradient, threads)
            extra = fresh._ask(ask="memory")["bytes"]
        return None if extra is None else Memory.of(extra, shape)

    def _prepare(self, o: Operands) -> Work:
        (B, D, L), (G, K) = o.u.shape, o.h.shape
        shape = Shape(B, D, L, K, G)
        self.set(shape, o.u.requires_grad, torch.get_num_threads())
        return Work(lambda: self.output(shape), (), sample=self.sample)

    def set(self, shape: Shape, gradient: bool, threads: int) -> None:
        """Make its inputs, the same numbers as `rivals.operands` makes."""
        self._ask(ask="set", shape=asdict(shape), gradient=gradient, threads=threads)

    def sample(self, calls: int) -> float:
        """Seconds of so many calls: a `timing.Sampler`."""
        return float(self._ask(ask="time", calls=calls)["seconds"])

    def output(self, shape: Shape) -> Float[Tensor, "B D L"]:
        """What it computes, to be compared."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "y"
            self._ask(ask="save", path=str(path))
            return torch.from_numpy(np.fromfile(path, dtype=np.float32)).view(shape.B, shape.D, shape.L)

    def _ask(self, **order: object) -> dict[str, Any]:
        """One order, one answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise HyenaError(f"the process of {NAME} ended with status {self._process.wait()}: is PyTorch installed there?")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise HyenaError(f"{NAME} failed: {found['error'].splitlines()[0]}")
        return found
