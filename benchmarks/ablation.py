"""What each ingredient of a Hyena recipe is worth: one change at a time, two seeds, on real text; writes reports/ablation.*.

    python benchmarks/ablation.py [--jobs 1] [--directory runs/ablation]

A byte-level Hyena of 3 layers of width 96 learns tiny Shakespeare in windows of 512 and is validated on the last tenth. Each
run takes one thread and a minute or two. Runs that are finished are not run again, so the script can be stopped and started.
"""

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import machine

TEXT = "hyena/data/samples/tinyshakespeare.txt.xz"
SEEDS = (0, 1)
FILTER = "model.mixers.H.filter"
BASE = {
    "model.pattern": "HHH",
    "model.width": 96,
    "model.max_length": 512,
    "model.tokenizer": "bytes",
    "training.steps": 1200,
    "training.batch_size": 2,
    "training.log_every": 20,
    "training.valid_every": 300,
    "training.save_every": 1200,
    "optimizer.lr": 2e-3,
    # The options under test, at their published values, whatever the defaults of this version are.
    f"{FILTER}.features": 33,
    f"{FILTER}.frequency": 14.0,
    f"{FILTER}.fast_decay": 0.3,
    f"{FILTER}.slow_decay": 1.5,
    f"{FILTER}.shift": 0.0,
    "model.mixers.H.short_taps": 3,
    "model.init_std": 0.02,
    "optimizer.filter_lr": 2e-3,
    "optimizer.filter_weight_decay": 0.0,
}
# Winners put together.
BEST = {
    f"{FILTER}.frequency": 5.0,
    f"{FILTER}.fast_decay": 0.03,
    "optimizer.filter_lr": 7e-4,
    "model.mixers.H.short_taps": 4,
}
NARROW = {"model.init_std": 0.0645, f"{FILTER}.init_std": 0.02}
# ingredient -> {what is changed: the changes}; the first row of the table is the published recipe itself.
VARIANTS: dict[str, dict[str, dict]] = {
    "filter frequency": {
        "1": {f"{FILTER}.frequency": 1.0},
        "5": {f"{FILTER}.frequency": 5.0},
        "10": {f"{FILTER}.frequency": 10.0},
        "30": {f"{FILTER}.frequency": 30.0},
        "10, 17 features": {f"{FILTER}.frequency": 10.0, f"{FILTER}.features": 17},
    },
    "decay window": {
        "none": {f"{FILTER}.window": "none"},
        "shorter (0.03 to 0.3 of the grid)": {f"{FILTER}.fast_decay": 0.03, f"{FILTER}.slow_decay": 0.3},
        "wider spread (0.03 to 1.5)": {f"{FILTER}.fast_decay": 0.03},
        "floor 0.05": {f"{FILTER}.shift": 0.05},
    },
    "short filter": {
        "none (1 tap)": {"model.mixers.H.short_taps": 1},
        "2 taps": {"model.mixers.H.short_taps": 2},
        "4 taps": {"model.mixers.H.short_taps": 4},
        "8 taps": {"model.mixers.H.short_taps": 8},
    },
    "filter learning rate": {
        "a tenth": {"optimizer.filter_lr": 2e-4},
        "a third": {"optimizer.filter_lr": 7e-4},
        "three times": {"optimizer.filter_lr": 6e-3},
    },
    "weight decay": {
        "filters too (0.1)": {"optimizer.filter_weight_decay": 0.1},
        "none at all": {"optimizer.weight_decay": 0.0},
    },
    "initialisation scale": {
        "0.01": {"model.init_std": 0.01},
        "0.05": {"model.init_std": 0.05},
        "filters alone 0.07": {f"{FILTER}.init_std": 0.07},
        "filters alone 0.2": {f"{FILTER}.init_std": 0.2},
    },
    "winners together": {
        "all but the initial weights": BEST,
        "all of them": BEST | NARROW,
        "all but the frequency": BEST | NARROW | {f"{FILTER}.frequency": 14.0},
        "all but the window's spread": BEST | NARROW | {f"{FILTER}.fast_decay": 0.3},
        "all but the taps: the defaults": BEST | NARROW | {"model.mixers.H.short_taps": 3},
        "all but the filters' rate": BEST | NARROW | {"optimizer.filter_lr": 2e-3},
        "all, without a window": BEST | NARROW | {f"{FILTER}.window": "none"},
        "frequency and initial weights alone": {f"{FILTER}.frequency": 5.0} | NARROW,
        "the same, frequency 1": {f"{FILTER}.frequency": 1.0} | NARROW,
    },
}


def main() -> None:
    """Run what is missing, then write table, curves and numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--directory", type=Path, default=Path("runs/ablation"))
    a = parser.parse_args()
    a.directory.mkdir(parents=True, exist_ok=True)
    rows = [("published recipe", "", {}), *((k, v, change) for k, group in VARIANTS.items() for v, change in group.items())]
    jobs = [
        (a.directory / f"{i:02d}-seed{seed}", change | {"training.seed": seed})
        for seed in SEEDS
        for i, (*_, change) in enumerate(rows)
    ]
    with ThreadPoolExecutor(a.jobs) as pool:
        for n, directory in enumerate(pool.map(lambda job: run(*job), jobs), 1):
            print(f"{n}/{len(jobs)} {directory}", flush=True)
    report([(k, v, [read(a.directory / f"{i:02d}-seed{seed}") for seed in SEEDS]) for i, (k, v, _) in enumerate(rows)])


def run(directory: Path, changes: dict) -> Path:
    """One training through the command line; nothing where it is finished."""
    if directory.exists() and any(
        "valid_nats_per_token" in line and line["step"] == BASE["training.steps"] for line in read(directory)
    ):
        return directory
    file = directory.with_suffix(".toml")
    file.write_text(toml(BASE | changes, directory))
    command = [sys.executable, "-m", "hyena", "train", str(file), "--overwrite"]
    subprocess.run(command, check=True, capture_output=True, env=machine.one_thread())
    return directory


def toml(values: dict, directory: Path) -> str:
    """Dotted keys are TOML."""
    lines = [f"directory = {json.dumps(str(directory))}", f"data.files = [{json.dumps(TEXT)}]"]
    return "\n".join(lines + [f"{key} = {json.dumps(value)}" for key, value in values.items()]) + "\n"


def read(directory: Path) -> list[dict]:
    """The lines of metrics.jsonl."""
    file = directory / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def final(lines: list[dict]) -> float:
    """The last validation, in nats per byte."""
    return [line["valid_nats_per_token"] for line in lines if "valid_nats_per_token" in line][-1]


def report(rows: list[tuple[str, str, list[list[dict]]]]) -> None:
    """reports/ablation.{json,md,png}."""
    facts = machine.facts("python benchmarks/ablation.py")
    published = [final(lines) for lines in rows[0][2]]
    table = []
    for ingredient, variant, runs in rows:
        values = [final(lines) for lines in runs]
        # Seeds share their batches and initial draws as far as the change allows: differences are taken seed by seed.
        differences = [value - base for value, base in zip(values, published, strict=True)]
        curves = [[[x["step"], x["loss"]] for x in lines if "loss" in x] for lines in runs]
        row = {"ingredient": ingredient, "variant": variant, "nats_per_byte": values, "difference": differences}
        table.append(row | {"mean": statistics.mean(values), "mean_difference": statistics.mean(differences), "curves": curves})
    Path("reports/ablation.json").write_text(json.dumps(facts | {"base": BASE, "seeds": SEEDS, "rows": table}) + "\n")
    lines = []
    for row in table:
        values = ", ".join(f"{x:.4f}" for x in row["nats_per_byte"])
        differences = ", ".join(f"{x:+.4f}" for x in row["difference"])
        means = f"{row['mean']:.4f} | {differences} | {row['mean_difference']:+.4f}"
        lines.append(f"| {row['ingredient']} | {row['variant']} | {values} | {means} |")
    Path("reports/ablation.md").write_text(
        f"# What each ingredient is worth\n\n{machine.sentence(facts)}\n\n"
        "A byte-level Hyena of 3 layers of width 96 on tiny Shakespeare, windows of 512, 1,200 steps of 1,024 bytes,\n"
        "validated on the last tenth. Published recipe: sine frequency 14 with 33 features, window from 0.3 to 1.5 of the\n"
        "grid, 3 short taps, filters at the common rate 2e-3 without decay, initial weights N(0, 0.02^2). Each row changes\n"
        "one thing, those of the last group several: frequency 5, window 0.03 to 1.5, 4 taps, filters at a third of the rate,\n"
        "initial weights N(0, 0.065^2), 0.065 = sqrt(2 / (5 width)), with filters at 0.02. Differences are seed by seed,\n"
        "negative is better. Four taps win alone and not together; the defaults are the best row.\n\n"
        "| ingredient | changed to | nats per byte, seeds 0 and 1 | mean | difference | mean |\n|---|---|---|---:|---|---:|\n"
        + "\n".join(lines)
        + "\n\n![loss curves](ablation.png)\n"
    )
    draw(table)


def draw(table: list[dict]) -> None:
    """A panel an ingredient: training loss, both seeds averaged, against the published recipe in grey."""
    from matplotlib.figure import Figure

    names = list(VARIANTS)
    figure = Figure(figsize=(17, 8), layout="constrained")
    axes = figure.subplots(2, 4, sharex=True, sharey=True)
    axes.flat[-1].set_axis_off()
    for name, panel in zip(names, axes.flat, strict=False):
        rows = [table[0], *(row for row in table if row["ingredient"] == name)]
        for i, row in enumerate(rows):
            steps = [step for step, _ in row["curves"][0]]
            loss = [statistics.mean(values) for values in zip(*([y for _, y in curve] for curve in row["curves"]), strict=True)]
            smooth = [statistics.mean(loss[max(0, j - 4) : j + 1]) for j in range(len(loss))]
            label = f"{row['variant'] or 'published'}: {row['mean']:.3f}"
            panel.plot(steps, smooth, color="#888888" if i == 0 else f"C{i - 1}", linewidth=2.4 if i == 0 else 1.2, label=label)
        panel.set_title(name)
        panel.set_ylim(1.4, 3.2)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        beside = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0)} if name == names[-1] else {}
        legend = panel.legend(frameon=False, fontsize=8, title="held out, nats per byte", title_fontsize=8, **beside)
        legend.set_in_layout(not beside)  # it stands in the place of the eighth panel
    figure.supxlabel("step")
    figure.supylabel("training loss, nats per byte (mean of five logged batches, two seeds)")
    figure.savefig("reports/ablation.png", dpi=110)


if __name__ == "__main__":
    main()
