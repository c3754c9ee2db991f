"""Score a million bases of a real genome; writes reports/score.{json,md}.

    python benchmarks/score.py                      # some minutes; leave the machine alone
    python benchmarks/score.py --length 131072      # a look

The model has the shape of HyenaDNA-large-1m (8 layers of width 256) and random weights, float32. Each round is a process of its
own, which is measured whole: PyTorch, weights, filters, output. Its matrix products are timed in the same process, half of them
before the scoring and half after it: the projections, MLPs and head of every layer at that length, in chunks of rows that stay
in the cache, and nothing between them. The products of the filters' own MLPs are not among them. A last process compares
per-token scores with the unchunked forward. The exit status is 1 where a bar is missed.
"""

import argparse
import json
import resource
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

import machine

GENOME = "examples/genomes/ecoli_K12_MG1655.fa.gz"
ROWS = 1024
BARS = {"peak_bytes": 6e9, "ratio": 1.8, "difference": 1e-4}


def main() -> int:
    """Measure in processes of their own, report."""
    a = arguments()
    if a.child:
        print(json.dumps({"score": scored, "equal": compared}[a.child](a)))
        return 0
    from hyena.bench.machine import busy

    warning = busy()
    rounds = [child(a, "score") for _ in range(a.rounds)]
    facts = machine.facts(shlex.join(["python", "benchmarks/score.py", *sys.argv[1:]])) | {
        "threads": a.threads,
        "genome": Path(a.genome).name,
        "length": a.length,
        "max_memory": a.max_memory,
        "warning": warning,
        "rounds": rounds,
        "peak_bytes": max(r["peak_bytes"] for r in rounds),
        "ratio": statistics.median(r["seconds"] / r["products_seconds"] for r in rounds),
        "equality": child(a, "equal"),
    }
    found = {"peak_bytes": facts["peak_bytes"], "ratio": facts["ratio"], "difference": facts["equality"]["difference"]}
    facts["bars"] = {
        name: {"value": found[name], "limit": limit, "passed": found[name] <= limit} for name, limit in BARS.items()
    }
    a.out.mkdir(parents=True, exist_ok=True)
    (a.out / "score.json").write_text(json.dumps(facts, indent=1) + "\n")
    (a.out / "score.md").write_text(page(facts))
    print(page(facts))
    return 0 if all(bar["passed"] for bar in facts["bars"].values()) else 1


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=1_000_000)
    parser.add_argument("--genome", default=GENOME, help="a FASTA file; its first record is scored")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--max-memory", default="5G")
    parser.add_argument("--equal", type=int, default=131_072, help="bases of the comparison with the unchunked forward")
    parser.add_argument("--out", type=Path, default=Path("reports"))
    parser.add_argument("--child", choices=("score", "equal"), help=argparse.SUPPRESS)
    return parser.parse_args()


def child(a: argparse.Namespace, name: str) -> dict:
    """What a process of its own measures."""
    options = [
        "--length",
        a.length,
        "--genome",
        a.genome,
        "--threads",
        a.threads,
        "--max-memory",
        a.max_memory,
        "--equal",
        a.equal,
    ]
    command = [sys.executable, __file__, *map(str, options), "--child", name]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    print(name, found, file=sys.stderr)
    return found


def start(a: argparse.Namespace, length: int) -> tuple:
    """The model and the ids (length,) of the genome."""
    import numpy as np
    import torch

    import hyena
    from hyena.data import load_tokenizer, read_fasta

    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    model = hyena.LanguageModel(hyena.presets.hyenadna_large_1m()).eval()
    record = next(read_fasta(a.genome)).sequence[:length]
    if len(record) < length:
        raise SystemExit(f"{a.genome}: its first record has {len(record)} bases, {length} are needed")
    return model, torch.from_numpy(load_tokenizer("dna").encode(record).astype(np.int64))


def scored(a: argparse.Namespace) -> dict:
    """Seconds and peak of one scoring, and the seconds of its matrix products."""
    import hyena
    from hyena.cli.sizes import parse_bytes

    model, ids = start(a, a.length)
    budget = parse_bytes(a.max_memory, "max_memory")
    hyena.score(model, [ids[:4096]])  # code pages, threads, the kernel's self-check
    predicted = hyena.estimate_memory(model, a.length - 1, max_memory=budget)
    first = products(model, a.length // 2)
    began = time.perf_counter()
    (found,) = hyena.score(model, [ids], max_memory=budget)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    second = products(model, a.length - a.length // 2)
    return {
        "seconds": seconds,
        "products_seconds": first + second,
        "peak_bytes": peak,
        "predicted_bytes": predicted.total,
        "predicted_seconds": predicted.seconds,
        "count": found.count,
        "mean": found.mean,
    }


def products(model, rows: int) -> float:
    """Seconds of the model's matrix products over so many rows, in chunks, each result in memory that is used again."""
    import torch

    weights = [p for name, p in model.named_parameters() if p.ndim == 2 and name.endswith("proj.weight")]
    weights.append(model.backbone.embedding.weight)
    inputs = {n: torch.randn(ROWS, n) for n in {w.shape[1] for w in weights}}
    results = {n: torch.empty(ROWS, n) for n in {w.shape[0] for w in weights}}
    with torch.no_grad():
        began = time.perf_counter()
        for start_ in range(0, rows, ROWS):
            n = min(ROWS, rows - start_)
            for w in weights:
                torch.mm(inputs[w.shape[1]][:n], w.T, out=results[w.shape[0]][:n])
        return time.perf_counter() - began


def compared(a: argparse.Namespace) -> dict:
    """The largest difference of per-token scores between the chunked and the unchunked forward."""
    import torch

    import hyena

    model, ids = start(a, a.equal)
    (found,) = hyena.score(model, [ids], max_memory=None)
    with torch.no_grad():
        whole = model(ids[None, :-1])[0].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
    return {"length": a.equal, "difference": float((whole - found.per_token).abs().max()), "spread": float(whole.std())}


def page(facts: dict) -> str:
    """The report in words."""
    rows = "\n".join(
        f"| {r['seconds']:.1f} | {r['products_seconds']:.1f} | {r['seconds'] / r['products_seconds']:.2f} | "
        f"{r['peak_bytes'] / 1e9:.2f} | {r['predicted_seconds']:.1f} | {r['predicted_bytes'] / 1e9:.2f} |"
        for r in facts["rounds"]
    )
    names = {
        "peak_bytes": "peak of the process, bytes",
        "ratio": "time over that of the matrix products",
        "difference": f"largest difference of a token's score from the unchunked forward at {facts['equality']['length']:,}",
    }
    bars = "\n".join(
        f"| {names[name]} | {bar['value']:.3g} | {bar['limit']:.3g} | {'cleared' if bar['passed'] else '**missed**'} |"
        for name, bar in facts["bars"].items()
    )
    warning = f"**{facts['warning'].capitalize()}.**\n\n" if facts["warning"] else ""
    return f"""# Scoring {facts["length"]:,} bases

{machine.sentence(facts)}

{warning}The first {facts["length"]:,} bases of {facts["genome"]} at once by a model of the shape of HyenaDNA-large-1m
(8 layers of width 256, random weights), float32, {machine_threads(facts["threads"])}, `max_memory` {facts["max_memory"]}.

| seconds | matrix products alone | ratio | peak, GB | predicted seconds | predicted GB |
|---:|---:|---:|---:|---:|---:|
{rows}

The peak is the largest resident size of the whole process (PyTorch, weights, filters, output); PyTorch itself, some 0.3 GB, is
not in the prediction. The products are those of projections, MLPs and head, in chunks that stay in the cache, timed in the same
process, half before and half after.

| what | value | bar | |
|---|---:|---:|---|
{bars}
"""


def machine_threads(count: int) -> str:
    """1 thread, 2 threads."""
    from hyena.bench.machine import threads

    return threads(count)


if __name__ == "__main__":
    sys.exit(main())
