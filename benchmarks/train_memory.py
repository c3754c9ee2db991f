"""Memory of a training step against the length of its sequence; writes reports/train_memory.{json,md,png}.

    python benchmarks/train_memory.py

Each length trains one step in a process of its own: width 256, 4 layers of Hyena, one sequence of DNA, with and without
gradient checkpointing. The figure is the largest resident size of the whole process, PyTorch itself included. The C library
gives blocks back to the system at once (MALLOC_MMAP_THRESHOLD_), so that the figure is what the step needs and not what its
heap has kept.
"""

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import machine
import numpy as np

LENGTHS = (4096, 8192, 16384, 32768, 65536)
MIB = 2**20


def main() -> None:
    """Measure every length, fit a line, report."""
    if len(sys.argv) > 1:
        step(int(sys.argv[1]), sys.argv[2] == "True")
        return
    figures: dict[bool, list[dict]] = {}
    for recompute in (True, False):
        figures[recompute] = []
        for length in LENGTHS:
            command = [sys.executable, __file__, str(length), str(recompute)]
            environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "262144"}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            figures[recompute].append(json.loads(done.stdout.splitlines()[-1]))
            print(recompute, length, figures[recompute][-1], flush=True)
    report(figures)


def step(length: int, recompute: bool) -> None:
    """In a process of its own: train one step and print the peak in bytes and the seconds of the step."""
    import hyena

    with tempfile.TemporaryDirectory() as folder:
        genome = Path(folder) / "random.fa"
        draw = random.Random(0)
        genome.write_text(">random\n" + "".join(draw.choices("ACGT", k=200_000)) + "\n")
        config = hyena.RunConfig(
            directory=f"{folder}/run",
            model=hyena.ModelConfig("HHHH", 256, 12, vocab_multiple=8, max_length=length, tokenizer="dna"),
            data=hyena.DataConfig(files=(str(genome),)),
            training=hyena.TrainingConfig(steps=1, batch_size=1, gradient_checkpointing=recompute, valid_tokens=2),
        )
        hyena.train(config)
        seconds = json.loads((Path(folder) / "run/timing.jsonl").read_text())["seconds"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"length": length, "peak_bytes": peak, "seconds": round(seconds, 3)}))


def fit(rows: list[dict]) -> dict[str, float]:
    """Least squares of peak = a + b L, its R^2, and the largest deviation as a fraction of the peak."""
    x, y = (np.array([row[key] for row in rows], float) for key in ("length", "peak_bytes"))
    b, a = np.polyfit(x, y, 1)
    residual = y - (a + b * x)
    return {
        "constant_bytes": a,
        "bytes_per_token": b,
        "r_squared": 1 - float((residual**2).sum() / ((y - y.mean()) ** 2).sum()),
        "largest_deviation": float(np.abs(residual / y).max()),
    }


def report(figures: dict[bool, list[dict]]) -> None:
    """JSON, table, picture."""
    facts = machine.facts("python benchmarks/train_memory.py")
    fits = {recompute: fit(rows) for recompute, rows in figures.items()}
    names = {True: "gradient checkpointing", False: "every activation kept"}
    results = {names[key]: {"fit": fits[key], "rows": rows} for key, rows in figures.items()}
    Path("reports/train_memory.json").write_text(json.dumps(facts | results, indent=1) + "\n")
    cells = {key: [f"{row['peak_bytes'] / MIB:,.0f} | {row['seconds']:.1f}" for row in rows] for key, rows in figures.items()}
    rows = zip(LENGTHS, cells[True], cells[False], strict=True)
    table = "\n".join(f"| {length:,} | {lean} | {full} |" for length, lean, full in rows)
    lines = "\n".join(
        f"- {names[key]}: {f['constant_bytes'] / MIB:,.0f} MiB + {f['bytes_per_token'] / 1024:.1f} KiB a token, "
        f"R^2 = {f['r_squared']:.5f}, no point farther from the line than {f['largest_deviation']:.1%}"
        for key, f in fits.items()
    )
    Path("reports/train_memory.md").write_text(
        f"# Memory of a training step\n\n{machine.sentence(facts)}\n\n"
        "Width 256, 4 layers of Hyena, DNA, one sequence a step, AdamW, float32; the largest resident size of the process.\n"
        "Seconds are those of one thread beside other work.\n\n"
        "| length | checkpointing, MiB | s a step | all kept, MiB | s a step |\n|---:|---:|---:|---:|---:|\n"
        f"{table}\n\nLeast squares:\n\n{lines}\n\n![memory against length](train_memory.png)\n"
    )
    draw(figures, fits, names)


def draw(figures: dict[bool, list[dict]], fits: dict[bool, dict], names: dict[bool, str]) -> None:
    """Points and fitted lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for (recompute, rows), colour in zip(figures.items(), ("#c8553d", "#9db4c0"), strict=True):
        x = np.array([row["length"] for row in rows])
        axes.plot(x, [row["peak_bytes"] / 2**30 for row in rows], "o", color=colour)
        f = fits[recompute]
        label = f"{names[recompute]}: {f['bytes_per_token'] / 1024:.0f} KiB a token, R² = {f['r_squared']:.4f}"
        line = np.array([0, max(LENGTHS)])
        axes.plot(line, (f["constant_bytes"] + f["bytes_per_token"] * line) / 2**30, color=colour, label=label)
    axes.set(xlabel="tokens in the sequence", ylabel="peak memory of the process, GiB", xlim=(0, None), ylim=(0, None))
    axes.set_xticks(LENGTHS[1:], [f"{length // 1024}K" for length in LENGTHS[1:]])
    axes.set_title("a training step, width 256, 4 layers")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig("reports/train_memory.png", dpi=110)


if __name__ == "__main__":
    main()
