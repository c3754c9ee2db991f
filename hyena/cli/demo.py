"""`hyena demo`: train the demonstration and print what it writes."""

import shlex
from dataclasses import dataclass
from importlib.resources import as_file, files

from hyena.cli.parse import parse
from hyena.configs.runs import demo

DESCRIPTION = "Train a byte-level Hyena of 4 layers of width 128 on tiny Shakespeare, then let it write."
PROMPT = "ROMEO:"
DIRECTORY = "runs/demo"


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena demo`."""

    directory: str = DIRECTORY
    """Where the model, metrics.jsonl and loss.png are written; an earlier run in runs/demo is replaced."""
    overwrite: bool = False
    """Replace an earlier run in another directory too."""
    steps: int | None = None
    """Fewer steps, for a quick look."""


def run(arguments: list[str]) -> int:
    """Train on the text that comes with the package, generate, say where the curve is."""
    a = parse(Arguments, arguments, "hyena demo", DESCRIPTION)
    from dataclasses import replace

    from hyena.cli import generate, train

    with as_file(files("hyena.data") / "samples" / "tinyshakespeare.txt.xz") as text:
        config = demo(a.directory, str(text))
        if a.steps is not None:
            config = replace(config, training=replace(config.training, steps=a.steps))
        status = train.train(config, resume=False, overwrite=a.overwrite or a.directory == DIRECTORY)
    if status:
        return status
    command = [a.directory, "--prompt", PROMPT, "--max-new-tokens", "400", "--temperature", "0.8", "--seed", "0"]
    print(f"\nwhat it writes (hyena generate {shlex.join(command)}):\n", flush=True)
    return generate.run(command)
