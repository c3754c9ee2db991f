"""The golden cases, loaded through the production importers."""

import atexit
import json
import shutil
import tempfile
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hyena.checkpoints import load, load_mixer
from hyena.models import Classifier, LanguageModel, Trace, trace

FOLDER = Path(__file__).parents[1] / "golden"
SHARED = Path(__file__).parents[3] / "shared" / "golden"
"""More cases, where a folder of them lies beside the checkout."""
CASES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


class Case:
    """One folder of golden files."""

    def __init__(self, name: str):
        """name: the folder's."""
        self.name, self.folder = name, FOLDER / name
        content = json.loads((self.folder / "config.json").read_text())
        self.config: dict[str, Any] = content["config"]
        self.which: str = content.get("which", "")

    @cached_property
    def io(self) -> dict[str, Tensor]:
        """Inputs and outputs."""
        return load_file(self.folder / "io.safetensors")

    @cached_property
    def state(self) -> dict[str, Tensor]:
        """The reference's state dict; of vortex as the file has it, before loading permutes the rows of Wqkv."""
        file = {name.removeprefix("ckpt."): t for name, t in self.io.items() if name.startswith("ckpt.")}
        return load_file(self.folder / "state.safetensors") | file

    @property
    def tensors(self) -> list[str]:
        """Names in io.safetensors, without reading it."""
        with safe_open(self.folder / "io.safetensors", framework="pt") as file:
            return sorted(file.keys())

    @property
    def is_operator(self) -> bool:
        """Whether it is a bare operator and not a model."""
        return self.name.startswith("safari-operator-")

    @property
    def format(self) -> str:
        """The name of its format."""
        if self.is_operator:
            return "safari" if self.which == "src" else "safari-standalone"
        family = self.name.split("-")[0]
        return "hyenadna-hf" if "-hf" in self.name else {"sh1": "stripedhyena", "sh2": "vortex"}.get(family, family)

    @cached_property
    def weights(self) -> Path:
        """The file of its weights, as its format has them."""
        if self.format != "vortex":
            return self.folder / "state.safetensors"
        file = Path(tempfile.mkdtemp(prefix="golden-")) / "model.safetensors"
        atexit.register(shutil.rmtree, file.parent, ignore_errors=True)
        save_file(self.state, file)
        return file

    def mixer(self, dtype: torch.dtype = torch.float32) -> nn.Module:
        """A new mixer from its weights."""
        return load_mixer(self.folder / "state.safetensors", self.format, self.config).to(dtype)

    def model(self, dtype: torch.dtype = torch.float32) -> LanguageModel | Classifier:
        """A new model from its weights."""
        return load(self.weights, self.format, self.config).to(dtype)

    @cache  # noqa: B019
    def trace(self, dtype: torch.dtype = torch.float32) -> Trace:
        """What flows through the model on the recorded ids."""
        return trace(self.model(dtype), self.io["input_ids"])


@cache
def case(name: str) -> Case:
    """A case, read once."""
    return Case(name)
