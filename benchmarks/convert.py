"""Convert a checkpoint of 1 GB into ours and back, each in a process of its own, and write reports/convert.{json,md}.

python benchmarks/convert.py [--megabytes 1000]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import machine
import torch

import hyena
from hyena.checkpoints.files import write_stored
from hyena.checkpoints.loader import STRIPED
from hyena.checkpoints.pickles import Layout
from hyena.checkpoints.striped import pairs
from hyena.checkpoints.striped_config import striped_options, vortex_options
from hyena.configs.filters import ExplicitFilterConfig, ModalFilterConfig, RealModalFilterConfig
from hyena.configs.mixers import AttentionConfig, ExplicitConvConfig, GatedConvConfig, Mixers, RealModalConvConfig
from hyena.models.tensorfile import Stored

MEASURE = """
import resource, sys, time
import hyena.checkpoints, torch
from torch._subclasses.fake_tensor import FakeTensorMode
imports, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
source, to, target = sys.argv[1:4]
done = hyena.checkpoints.convert(source, target, to, sys.argv[4] if len(sys.argv) > 4 else None)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - imports, time.perf_counter() - begin, done.tensors)
"""
"""ru_maxrss is in KiB on Linux."""


def config(format: str, megabytes: int) -> hyena.ModelConfig:
    """Layers of width 1024 until the file has its size; no tensor is large."""
    common = {"width": 1024, "vocab_size": 512, "max_length": 8192, "mlp": "gated", "mlp_width": 2816, "tokenizer": "bytes"}
    common |= {"norm": "rms_outside", "norm_eps": 1e-6}
    layers = max(4, round(megabytes / 52.6))
    if format == "stripedhyena":
        R = GatedConvConfig(filter=ModalFilterConfig(order=8, form="cartesian"))
        pattern = ("RRRA" * layers)[:layers]
        return hyena.ModelConfig(pattern=pattern, activation="gelu", mixers=Mixers(R=R, A=AttentionConfig(heads=8)), **common)
    mixers = Mixers(
        S=ExplicitConvConfig(filter=ExplicitFilterConfig(taps=7, groups=64)),
        M=ExplicitConvConfig(skip=True, filter=ExplicitFilterConfig(taps=128, groups=64)),
        L=RealModalConvConfig(filter=RealModalFilterConfig(form="log_poles")),
        A=AttentionConfig(heads=8, qkv_bias=False),
    )
    pattern = ("SMLA" * layers)[:layers]
    return hyena.ModelConfig(pattern=pattern, activation="gelu", later_activation="identity", mixers=mixers, **common)


def synthetic(format: str, suffix: str, directory: Path, megabytes: int) -> int:
    """A published checkpoint of random weights, written a tensor at a time; its bytes."""
    directory.mkdir()
    ours = config(format, megabytes)
    options = striped_options(ours) if format == "stripedhyena" else vortex_options(ours)
    options |= {"num_attention_heads": 8, "proj_groups": 1}
    with torch.device("meta"):
        shapes = hyena.LanguageModel(STRIPED[format](options)).state_dict()
    tensors = {}
    for pair in pairs(format, STRIPED[format](options), options):
        shape = tuple(pair.redo(shapes[pair.ours]).shape)

        def load(shape: tuple[int, ...] = shape, name: str = pair.theirs) -> torch.Tensor:
            if name.endswith("inv_freq"):
                return 10000.0 ** -torch.linspace(0, 1, shape[0])
            scale = -torch.rand(shape) if name.endswith("log_poles") else 0.02 * torch.randn(shape)
            return 1 + scale if name.endswith("scale") else scale

        tensors[pair.theirs] = Stored(shape, torch.float32, load)
    (directory / "config.json").write_text(json.dumps(options))
    file = directory / f"model.{suffix}"
    write_stored(Layout(tensors), file)
    return file.stat().st_size


def measured(source: Path, to: str, target: Path, *format: str) -> tuple[float, float]:
    """Peak memory beyond the imports in MB, and seconds, of one conversion in a process of its own."""
    command = [sys.executable, "-c", MEASURE, source, to, target, *format]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    kib, seconds, _ = done.stdout.split()
    return float(kib) * 1024 / 1e6, float(seconds)


def main() -> None:
    """Both formats, each way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=1030)
    parser.add_argument("--out", type=Path, default=Path("reports"))
    arguments = parser.parse_args()
    rows = []
    for format, suffix in (("stripedhyena", "safetensors"), ("vortex", "pt")):
        with tempfile.TemporaryDirectory() as place:
            home = Path(place)
            size = synthetic(format, suffix, home / "published", arguments.megabytes) / 1e6
            steps = [(home / "published", "hyena", home / "ours"), (home / "ours", format, home / "again")]
            for source, to, target in steps:
                peak, seconds = measured(source, to, target)
                name = f"{format} (.{suffix})"
                way = f"{name} -> ours" if to == "hyena" else f"ours -> {name}"
                rows.append({"conversion": way, "megabytes": size, "peak_megabytes": peak, "seconds": seconds})
                print(rows[-1], flush=True)
    facts = machine.facts("python benchmarks/convert.py")
    (arguments.out / "convert.json").write_text(json.dumps(facts | {"conversions": rows}, indent=1) + "\n")
    columns = ("megabytes", "peak_megabytes", "seconds")
    lines = [f"| {row['conversion']} | {' | '.join(f'{row[name]:.0f}' for name in columns)} |\n" for row in rows]
    (arguments.out / "convert.md").write_text(
        f"# Memory of conversions\n\n{machine.sentence(facts)}\n\n"
        "Greatest resident memory (`ru_maxrss`) of a process that converts a checkpoint of random weights in float32, beyond\n"
        "what its imports take. The model is in memory once; files are read, written and compared a tensor at a time.\n\n"
        "| conversion | file, MB | peak, MB | seconds |\n|---|---|---|---|\n" + "".join(lines)
    )


if __name__ == "__main__":
    main()
