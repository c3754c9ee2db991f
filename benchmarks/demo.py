"""Run the demonstration from scratch and write reports/demo.{json,md} and docs/images/demo.png.

python benchmarks/demo.py
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import machine


def main() -> None:
    """Train, time, report."""
    for folder in ("reports", "docs/images"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "demo"
        began = time.perf_counter()
        run = subprocess.run(
            [sys.executable, "-m", "hyena", "demo", "--directory", str(directory)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        seconds = time.perf_counter() - began
        report(directory, seconds, run.stdout)


def report(directory: Path, seconds: float, out: str) -> None:
    """Write the report of a run of `hyena demo` in a directory that took some seconds and printed `out`."""
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    shutil.copy(directory / "loss.png", "docs/images/demo.png")
    config = tomllib.loads((directory / "run.toml").read_text())
    valid = [line for line in lines if "valid_nats_per_token" in line]
    facts = machine.facts("python benchmarks/demo.py") | {
        "seconds": round(seconds, 1),
        "training": config["training"],
        "optimizer": config["optimizer"],
        "last": valid[-1],
        "tokens_per_second": json.loads((directory / "timing.jsonl").read_text().splitlines()[-1])["tokens_per_second"],
        "validations": [[line["step"], line["valid_nats_per_token"]] for line in valid],
        "sample": out.partition("):\n\n")[2],
    }
    Path("reports/demo.json").write_text(json.dumps(facts, indent=1) + "\n")
    last = facts["last"]
    Path("reports/demo.md").write_text(
        f"# The demonstration\n\n{machine.sentence(facts)}\n\n"
        f"A byte-level Hyena of 4 layers of width 128 on tiny Shakespeare, {last['step']} steps, validated on the last tenth "
        f"of the text: **{last['valid_nats_per_token']:.4f} nats per byte** ({last['valid_bits_per_byte']:.4f} bits) over "
        f"{last['valid_tokens']:,} bytes. Training, validations and the sample took {facts['seconds']:.0f} s, set-up apart; "
        f"training ran at {facts['tokens_per_second']:,} bytes a second.\n\n![loss](../docs/images/demo.png)\n\n"
        f"What it wrote:\n\n```\n{facts['sample'].rstrip()}\n```\n"
    )


if __name__ == "__main__":
    main()
