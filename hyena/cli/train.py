"""`hyena train CONFIG.toml [--key value ...] [--resume | --overwrite]`."""

import signal
import sys
from math import isnan
from pathlib import Path

from hyena.cli.parse import parse
from hyena.cli.progress import progress
from hyena.configs.files import read_toml
from hyena.configs.runs import run_config
from hyena.configs.training import RunConfig
from hyena.errors import HyenaError

DESCRIPTION = """\
Train a language model. CONFIG.toml holds the tables [model], [data], [optimizer], [training]; each key can be given here too.
A run's directory, or the run.toml in it, stands for the configuration that the run was started with.

--resume goes on where the run in the directory stopped, also after a crash, and starts it where there is none; --overwrite
replaces it. Ctrl-C and SIGTERM save and stop. --soft-mask and --iupac are short for --data.soft-mask and --data.iupac."""
_SHORT = {"--soft-mask": "--data.soft-mask", "--iupac": "--data.iupac"}


def run(arguments: list[str]) -> int:
    """Parse, train, print where everything is."""
    flags = {name: f"--{name}" in arguments for name in ("resume", "overwrite")}
    rest = [_SHORT.get(argument, argument) for argument in arguments if argument not in ("--resume", "--overwrite")]
    if rest and not rest[0].startswith("-"):
        config = configuration(rest[0], rest[1:])
    elif {"-h", "--help"} & set(rest):
        parse(RunConfig, ["--help"], "hyena train CONFIG.toml", DESCRIPTION)
        return 0
    else:
        raise HyenaError("hyena train needs a configuration: hyena train CONFIG.toml [--key value ...]")
    return train(config, **flags)


def configuration(path: str, arguments: list[str]) -> RunConfig:
    """The file with the command line's changes; a vocab_size that neither names is the tokenizer's, or the recall task's."""
    path = str(Path(path) / "run.toml") if (Path(path) / "run.toml").is_file() else path
    values = read_toml(path)
    model = values.get("model")
    stated = not isinstance(model, dict) or "vocab_size" in model or "preset" in model
    stated = stated or any(argument.replace("_", "-").startswith("--model.vocab-size") for argument in arguments)
    config = run_config(values, path, vocab_size=1)  # stands in where the file has none
    config = parse(RunConfig, arguments, f"hyena train {path}", DESCRIPTION, default=config)
    if stated:
        return config
    from dataclasses import replace

    from hyena.data import load_tokenizer

    symbols = config.data.recall or load_tokenizer(config.spec)
    return replace(config, model=config.model.replace(vocab_size=symbols.vocab_size))


def train(config: RunConfig, resume: bool, overwrite: bool) -> int:
    """Train with a progress line; 128 + its number where a signal stopped it, as shells count."""
    from hyena.training import Progress
    from hyena.training import train as train_model

    with progress("step") as line:

        def report(p: Progress) -> None:
            line.update(p.step, p.steps, f"loss {p.loss:.3f}  {p.tokens_per_second:,.0f} tokens/s")
            if p.validated and p.valid is not None:
                bits = "" if isnan(p.valid.bits_per_byte) else f", {p.valid.bits_per_byte:.4f} bits/byte"
                right = f"{p.valid.accuracy:.1%} right"
                line.note(f"step {p.step}: held out {p.valid.nats_per_token:.4f} nats/token{bits}, {right}")

        reading = line.another("byte").update
        result = train_model(config, resume=resume, overwrite=overwrite, report=report, note=line.note, reading=reading)
    if not result.finished:
        name = signal.Signals(result.signal or signal.SIGINT).name
        print(f"stopped by {name} after step {result.steps} and saved; go on with --resume", file=sys.stderr)
        return 128 + (result.signal or signal.SIGINT)
    print(f"model and metrics: {result.directory}")
    if result.best is not None and result.best.name != f"step-{result.steps:08d}":
        print(f"best validation: {result.best}")
    curve = result.curve or "not drawn (pip install 'hyena[report]')"
    print(f"loss curve: {curve}")
    return 0
