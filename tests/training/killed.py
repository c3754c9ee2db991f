"""Run as a script in an empty directory: one run that nobody stops, and one that is killed ten times, without warning.

Children of this process train, so that torch is imported once. Half of the kills come in the middle of a step, half in the
middle of a save: before a file or directory of a checkpoint is opened, renamed or removed. Prints a line a kill: where.
"""

import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from hyena.configs.training import RunConfig
from hyena.training import loop, step, train
from tests.training.runs import TEXT, tiny

KILLS = 10
FILES = {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.listdir", "shutil.rmtree"}
# Everything that has a state: dropout's random numbers, moments, an average, lengths that change, a best checkpoint.
CHANGES: dict[str, Any] = {"steps": 24, "save_every": 3, "valid_every": 4, "dropout": 0.2, "ema": 0.9, "start_length": 8}


def die(where: str) -> None:
    """Say where, and be gone."""
    os.write(1, f"{where}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_a_step(number: int) -> None:
    """Before the weights move in the step of that number from now on."""
    set_rate, left = step.set_rate, [number]

    def last_words(*arguments: Any) -> None:
        left[0] -= 1
        set_rate(*arguments)
        if left[0] == 0:
            die("in a step")

    step.set_rate = last_words


def die_in_a_save(number: int) -> None:
    """At the file operation of that number from now on that concerns a checkpoint."""
    left = [number]

    def listen(event: str, arguments: tuple) -> None:
        if event in FILES and any("checkpoints" in str(argument) for argument in arguments):
            left[0] -= 1
            if left[0] == 0:
                die(f"in a save: {event} {Path(str(arguments[0])).name}")

    sys.addaudithook(listen)


def in_a_child(config: RunConfig, prepare: Any = None, number: int = 0) -> bool:
    """Go on with the run in a child process; whether it came to its end."""
    child = os.fork()
    if child == 0:
        if prepare is not None:
            prepare(number)
        finished = train(config, resume=True).finished
        os._exit(0 if finished else 1)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0, "a child failed"
    return True


def main() -> None:
    """Both runs."""
    torch.set_num_threads(1)
    loop.draw_curve = lambda _: None
    here = Path.cwd()
    (here / "text.txt").write_text(TEXT)
    assert in_a_child(tiny(here / "whole", here / "text.txt", **CHANGES))
    draw = random.Random(int(sys.argv[1]))
    config = tiny(here / "killed", here / "text.txt", **CHANGES)
    for kill in range(KILLS):
        prepare, most = (die_in_a_step, 4) if kill % 2 == 0 else (die_in_a_save, 40)
        assert not in_a_child(config, prepare, draw.randint(1, most)), "the run ended before it was killed"
    assert in_a_child(config)


if __name__ == "__main__":
    main()
