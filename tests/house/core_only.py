"""Run as a script: hides every installed package but those named as arguments and what they need, then uses hyena.

Trains, saves, loads, evaluates and generates in the current directory; ends with an error where something is missing.
"""

import importlib.util
import pkgutil
import re
import sys
from collections.abc import Iterable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, PackageNotFoundError, packages_distributions, requires
from pathlib import Path


def plain(name: str) -> str:
    """A distribution's name as package indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(names: list[str]) -> set[str]:
    """The distributions and all that they need, without extras."""
    found, todo = {"hyena"}, list(names)
    while todo:
        name = plain(todo.pop())
        if name not in found:
            found.add(name)
            try:
                requirements = requires(name) or []
            except PackageNotFoundError:
                continue
            todo += [re.split(r"[^\w.-]", text)[0] for text in requirements if "extra ==" not in text]
    return found


class Hiding(MetaPathFinder):
    """A finder that no longer finds some top-level packages."""

    def __init__(self, finder: MetaPathFinder, hidden: set[str]):
        self.finder, self.hidden = finder, hidden

    def find_spec(self, name: str, *rest: object) -> ModuleSpec | None:
        return None if name.partition(".")[0] in self.hidden else self.finder.find_spec(name, *rest)

    def find_distributions(self, *context: object) -> Iterable[Distribution]:
        """Versions can still be asked for."""
        return self.finder.find_distributions(*context) if hasattr(self.finder, "find_distributions") else []


def hide(core: list[str]) -> None:
    """From here on only the core dependencies can be imported."""
    allowed = needed(core)
    hidden = {top for top, owners in packages_distributions().items() if not {plain(owner) for owner in owners} & allowed}
    for name in [name for name in sys.modules if name.partition(".")[0] in hidden]:
        del sys.modules[name]
    sys.meta_path[:] = [Hiding(finder, hidden) for finder in sys.meta_path]
    assert importlib.util.find_spec("pytest") is None, "nothing is hidden"


def refuse(name: str) -> None:
    """A module for another library, which is not there: its import says which extra has it."""
    message = "nothing was wrong"
    try:
        importlib.import_module(name)
    except ImportError as error:
        message = str(error)
    assert "pip install 'hyena[" in message, f"{name}: {message}"


def use() -> None:
    """Import every module, then do what a user does."""
    import hyena
    from hyena.configs.data import DataConfig
    from hyena.configs.training import RunConfig, TrainingConfig

    for module in pkgutil.walk_packages(hyena.__path__, "hyena."):
        if module.name.startswith("hyena.integrations.transformers"):
            refuse(module.name)
        elif module.name != "hyena.__main__":
            importlib.import_module(module.name)
    for name in hyena.__all__:
        getattr(hyena, name)

    import torch

    config = hyena.ModelConfig(pattern="HAW", width=16, vocab_size=256, max_length=16, tokenizer="bytes")
    model = hyena.LanguageModel(config)
    ids = torch.randint(256, (2, 16))
    model(ids).sum().backward()
    model.save("model")
    assert torch.equal(hyena.load("model")(ids), model.eval()(ids))
    assert hyena.generate(model, ids[:, :4], 3, seed=0).shape == (2, 7)

    Path("text.txt").write_text(99 * "some text ")
    training = TrainingConfig(steps=2, batch_size=2, device="cpu")
    result = hyena.train(RunConfig("run", config, DataConfig(("text.txt",)), training=training))
    assert result.finished
    assert result.curve is None, "the curve needs matplotlib, which must be hidden here"
    tokenizer = hyena.data.load_tokenizer("bytes")
    assert hyena.evaluate(hyena.load("run"), hyena.data.load_corpus("text.txt", tokenizer).tokens, tokenizer).tokens == 989
    assert len(hyena.data.load_tokenizer("dna").encode("ACGT")) == 4
    try:
        hyena.data.load_tokenizer("file:text.txt")
    except hyena.HyenaError as error:
        message = str(error)
    assert "hyena[text]" in message


if __name__ == "__main__":
    hide(sys.argv[1:])
    use()
