"""Train on the E. coli genome and hold the result against Markov models; writes reports/ecoli.{json,md} and two pictures.

    python benchmarks/ecoli.py

Goes on with runs/ecoli where it stopped. The last contiguous tenth of the genome is held out from both.
"""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import machine

RUN = Path("runs/ecoli")
GENOME = "examples/genomes/ecoli_K12_MG1655.fa.gz"
ORDERS = [str(order) for order in (*range(13), 16)]


def main() -> None:
    """Train, evaluate, compare, report."""
    subprocess.run([sys.executable, "-m", "hyena", "train", "examples/ecoli.toml", "--resume"], check=True)
    evaluation = hyena(
        "evaluate", RUN, "--data", GENOME, "--last", "0.1", "--positions", "reports/ecoli_positions.png", "--json"
    )
    baseline = hyena("bench", "markov", "--data", GENOME, "--orders", *ORDERS, "--mix", "--json")
    shutil.copy(RUN / "loss.png", "reports/ecoli_loss.png")
    lines, timing = (jsonl(RUN / name) for name in ("metrics.jsonl", "timing.jsonl"))
    valid = [line for line in lines if "valid_nats_per_token" in line]
    facts = machine.facts("python benchmarks/ecoli.py") | {
        "threads": json.loads((RUN / "environment.json").read_text())["threads"],
        "seconds": timing[-1]["seconds"],
        "run": tomllib.loads((RUN / "run.toml").read_text()),
        "validations": [[line["step"], line["tokens"], line["valid_nats_per_token"]] for line in valid],
        "evaluation": evaluation,
        "markov": baseline,
    }
    Path("reports/ecoli.json").write_text(json.dumps(facts, indent=1) + "\n")
    Path("reports/ecoli.md").write_text(page(facts))


def hyena(*words: object) -> dict:
    """What a command prints as JSON."""
    command = [sys.executable, "-m", "hyena", *map(str, words)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def jsonl(file: Path) -> list[dict]:
    """The lines of a file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def page(facts: dict) -> str:
    """The report in words."""
    found, run, training = facts["evaluation"], facts["run"], facts["run"]["training"]
    step, tokens, _ = facts["validations"][-1]
    orders = facts["markov"]["orders"]
    single = min(orders, key=lambda o: o["nats_per_token"])
    mixed = min(orders, key=lambda o: o["mix_nats_per_token"])
    model, minutes = run["model"], facts["seconds"] / 60
    lines = [
        f"# E. coli\n\n{machine.sentence(facts)}\n",
        f"A Hyena of {len(model['pattern'])} layers of width {model['width']} on the genome of E. coli K-12 MG1655 (4,639,675",
        f"bases), the last contiguous tenth held out: **{found['nats_per_token']:.4f} nats per base**",
        f"({found['bits_per_byte']:.4f} bits) over {found['tokens']:,} held-out bases, {found['accuracy']:.1%} of them",
        f"guessed. {step:,} steps of {training['batch_size']} windows of {model['max_length']:,} (growing from",
        f"{training['start_length']}), {tokens / 1e6:.1f} million bases of both strands seen; {minutes:.0f} minutes of steps",
        f"on {facts['threads']} thread, beside other work on the machine.\n",
        f"The best Markov model of one order has order {single['order']}: {single['nats_per_token']:.4f}; all orders mixed, up",
        f"to {mixed['order']}, reach {mixed['mix_nats_per_token']:.4f}.\n",
        "![loss](ecoli_loss.png)\n\n![loss against context](ecoli_positions.png)\n",
        "Markov models of the same bases, counts of the training part with additive smoothing, and each order backed off to",
        "the one below (`hyena bench markov --mix`):\n\n| order | nats per base | backed off |\n|---:|---:|---:|",
        *(f"| {o['order']} | {o['nats_per_token']:.4f} | {o['mix_nats_per_token']:.4f} |" for o in orders),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
