"""FLOOR 7: the command `hyena`. One file a command: parsing and printing only. A command is imported when it is called."""

import errno
import importlib
import io
import os
import sys
import warnings
from typing import TextIO

from hyena.errors import HyenaError

COMMANDS = {
    "demo": "train a small Hyena on Shakespeare and let it write",
    "prepare": "files to tokens on disk, once for many trainings: hyena prepare FILES --out DIR",
    "train": "train a language model: hyena train CONFIG.toml [--key value ...]",
    "generate": "continue a prompt: hyena generate DIR --prompt TEXT",
    "evaluate": "nats, perplexity and bits per byte of a text: hyena evaluate DIR --data FILE",
    "score": "the log-probability of every record: hyena score DIR FILE... --out OUT.tsv",
    "embed": "a vector for every record: hyena embed DIR FILE... --out OUT.npz",
    "distill": "filters with a state of a few numbers, and how close: hyena distill DIR OUT --order 16",
    "tensorboard": "a run's metrics as TensorBoard events: hyena tensorboard RUN",
    "info": "versions, devices, and which backend computes what and why",
    "convert": "a model from one format to another: hyena convert SRC DST --to FORMAT",
    "verify": "is a model whole, and does it compute what it did: hyena verify DIR",
    "inspect": "seeing inside: filters, their reach, norms, what is unusual: hyena inspect DIR",
    "bench": "measurements: hyena bench markov --data FILE",
}

SPIN = "20000"
"""How often a thread of PyTorch's looks again before it sleeps."""

HELP = f"""\
usage: hyena COMMAND [options]      (hyena COMMAND --help tells each command's)

Long-convolution sequence models: train, save, load, generate, reproduce the published ones.

{chr(10).join(f"  {name:<12} {what}" for name, what in COMMANDS.items())}

  --help     this text
  --version  the version
"""

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; returns the exit status: 0, 2 for bad input (one line on stderr), 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Threads that spin at a barrier for milliseconds stall each other where other programs run too: a training step took up
    # to ten times longer (LOG.md). A short spin costs nothing elsewhere. Read when torch is first imported, hence here.
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a letter shows a question mark
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in ("--help", "-h", "help"):
        print(HELP, end="")
        return 0 if arguments else 2
    if name == "--version":
        from hyena import __version__

        print(f"hyena {__version__}")
        return 0
    try:
        if name not in COMMANDS:
            from hyena.configs.files import nearest

            raise HyenaError(f"unknown command {name!r}{nearest(name, COMMANDS)}; the commands: {', '.join(COMMANDS)}")
        with warnings.catch_warnings():
            warnings.showwarning = _shown
            return importlib.import_module(f"hyena.cli.{name}").run(rest)
    except HyenaError as error:
        print(f"hyena: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hyena: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe went away, as `head` does
        sys.stderr.close()
        return 1
    except OSError as error:  # a full disk, a directory that may not be written
        cure = "; make room and give the command again" if error.errno in _FULL else ""
        print(f"hyena: {error.filename or 'the file system'}: {error.strerror or error}{cure}", file=sys.stderr)
        return 2


_SHOWN = warnings.showwarning


def _shown(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning of ours in one line, as errors are; any other as Python shows it."""
    if category.__module__.startswith("hyena."):
        print(f"hyena: warning: {message}", file=sys.stderr)
    else:
        _SHOWN(message, category, filename, lineno, file, line)
