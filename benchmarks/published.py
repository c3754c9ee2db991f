"""Compare every recorded case of the reference implementations with ours and write reports/published.{json,md}.

python benchmarks/published.py
"""

import json
import tempfile
from pathlib import Path

import machine
import torch
from safetensors.torch import load_file, save_file

import hyena
from hyena.checkpoints import hyenadna, load_mixer

GOLDEN = Path("tests/golden")


@torch.no_grad()
def compare(case: Path) -> dict[str, str | float]:
    """Greatest absolute differences of the main output: ours in float64 and float32 against the recorded ones."""
    config, io = json.loads((case / "config.json").read_text()), load_file(case / "io.safetensors")
    weights = case / "state.safetensors"
    if case.name.startswith("sh"):
        return striped(case, config["config"], io)
    if case.name.startswith("safari-operator"):
        format = "safari" if config["which"] == "src" else "safari-standalone"
        model, arguments, name = load_mixer(weights, format, config["config"]), (io["x"],), "y"
        double = (io["x"].double(),)
    else:
        format = "hyenadna-hf" if "-hf" in case.name else case.name.split("-")[0]
        model, name = hyena.load(weights, format, config["config"]), "logits"
        arguments = (io["input_ids"],)
        if case.name == "hyenadna-hf-cls":
            arguments += (hyenadna.lengths_before_padding(io["input_ids"]),)
        double = arguments
    single = (model(*arguments) - io[name]).abs().max().item()
    exact = (model.double()(*double) - io[f"{name}_f64"]).abs().max().item()
    return {"case": case.name, "format": format, "float64": exact, "float32": single, "largest": io[name].abs().max().item()}


def striped(case: Path, config: dict, io: dict[str, torch.Tensor]) -> dict[str, str | float]:
    """The same for StripedHyena, whose float64 run recorded the last stream; vortex's file has its own rows of Wqkv."""
    format = "stripedhyena" if case.name.startswith("sh1") else "vortex"
    state = load_file(case / "state.safetensors")
    state |= {name.removeprefix("ckpt."): tensor for name, tensor in io.items() if name.startswith("ckpt.")}
    with tempfile.TemporaryDirectory() as place:
        save_file(state, Path(place) / "model.safetensors")
        model = hyena.load(Path(place) / "model.safetensors", format, config)
    single = (model(io["input_ids"]) - io["logits"]).abs().max().item()
    exact = (hyena.trace(model.double(), io["input_ids"]).streams[-1] - io["stream_last_f64"]).abs().max().item()
    return {
        "case": case.name,
        "format": format,
        "float64": exact,
        "float32": single,
        "largest": io["logits"].abs().max().item(),
    }


def main() -> None:
    """All cases, with those that are refused and why."""
    rows, refused = [], []
    for case in sorted(path for path in GOLDEN.iterdir() if path.is_dir()):
        try:
            rows.append(compare(case))
        except hyena.HyenaError as error:
            refused.append({"case": case.name, "why": str(error)})
    facts = machine.facts("python benchmarks/published.py")
    Path("reports/published.json").write_text(json.dumps(facts | {"cases": rows, "refused": refused}, indent=1) + "\n")
    lines = [
        f"| {r['case']} | {r['format']} | {r['float64']:.1e} | {r['float32']:.1e} | {r['largest']:.3g} |\n" for r in rows
    ] + [f"\nRefused: {r['case']}: {r['why']}.\n" for r in refused]
    Path("reports/published.md").write_text(
        f"# Recorded tensors of the references against ours\n\n{machine.sentence(facts)}\n\n"
        "Greatest absolute difference of the main output, through the production importer; `tests/checkpoints` compares every\n"
        "recorded tensor, gradients included. Of StripedHyena (sh1, sh2) float64 was recorded for the last stream.\n\n"
        "| case | format | float64 | float32 | largest value |\n|---|---|---|---|---|\n" + "".join(lines)
    )


if __name__ == "__main__":
    main()
