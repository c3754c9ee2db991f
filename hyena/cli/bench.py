"""`hyena bench MEASUREMENT`: each measurement is a file of its own, bench_NAME.py, imported when it is called."""

import importlib

from hyena.configs.files import nearest
from hyena.errors import HyenaError

MEASUREMENTS = {
    "decode": "time per token against context, for every way to decode: hyena bench decode",
    "length": "time and memory of a forward from a thousand to a million tokens: hyena bench length",
    "markov": "the Markov baseline of a corpus: hyena bench markov --data FILE",
    "ops": "speed and memory of the long convolution against its rivals: hyena bench ops",
}

HELP = f"""\
usage: hyena bench MEASUREMENT [options]      (hyena bench MEASUREMENT --help tells each one's)

{chr(10).join(f"  {name:<10} {what}" for name, what in MEASUREMENTS.items())}
"""


def run(arguments: list[str]) -> int:
    """Hand the rest of the line to the measurement that its first word names."""
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in ("--help", "-h", "help"):
        print(HELP, end="")
        return 0 if arguments else 2
    if name not in MEASUREMENTS:
        known = ", ".join(MEASUREMENTS)
        raise HyenaError(f"hyena bench has no measurement {name!r}{nearest(name, MEASUREMENTS)}; the measurements: {known}")
    return importlib.import_module(f"hyena.cli.bench_{name}").run(rest)
