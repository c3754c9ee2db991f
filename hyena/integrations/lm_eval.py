"""Our language models in lm-eval, EleutherAI's evaluation harness: the model "hyena", for the extra `eval`.

    python -m hyena.integrations.lm_eval --model hyena --model_args path=runs/demo --tasks lambada_openai

is lm-eval's own command line, all of it, with one more model. From Python the same is `evaluate`, or `register()` before
`lm_eval.simple_evaluate(model="hyena", ...)`. What the numbers are stands in `harness.py`. Tasks that run code which the model
wrote are refused unless the caller says otherwise, in lm-eval's way: nothing here does.
"""

import functools
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hyena.checkpoints import load
from hyena.configs.files import nearest
from hyena.errors import HyenaError
from hyena.integrations.harness import BATCH_SIZE, Harness
from hyena.models import LanguageModel
from hyena.models.budget import DEFAULT_MEMORY
from hyena.training.device import device_for

NEEDED = "evaluation with lm-eval needs the package lm-eval; run pip install 'hyena[eval]'"
ARGUMENTS = ("path", "device", "batch_size", "max_batch_size", "bos", "max_memory")
UNSAID = "cuda:0"
"""The device that lm-eval names where its user names none."""


@functools.cache
def register() -> type:
    """The class behind lm-eval's model name "hyena", which this makes known; `HyenaError` where lm-eval is not installed.

    model_args: path (a directory), device, bos, batch_size, max_memory (bytes); see `Harness`.
    """
    try:
        from lm_eval.api.model import LM
        from lm_eval.api.registry import register_model
        from lm_eval.utils import simple_parse_args_string
    except ImportError as error:
        raise HyenaError(NEEDED) from error

    @register_model("hyena")
    class HyenaLM(LM):
        """The three requests of lm-eval, handed to a `Harness`."""

        def __init__(
            self,
            path: str | Path | LanguageModel,
            device: str | None = None,
            batch_size: int | str | None = None,
            max_batch_size: int | None = None,
            bos: int | None = None,
            max_memory: int | None = DEFAULT_MEMORY,
        ):
            """path: a directory, or a model; batch_size: "auto" and none given are ours; max_batch_size: its bound."""
            super().__init__()
            size = BATCH_SIZE if batch_size is None or str(batch_size).startswith("auto") else int(batch_size)
            size = size if max_batch_size is None else min(size, max_batch_size)
            self.harness = Harness(_model(path, device), bos=bos, batch_size=size, max_memory=max_memory)

        @classmethod
        def create_from_arg_string(cls, arg_string: str, additional_config: dict[str, Any] | None = None) -> "HyenaLM":
            """From "path=DIR,bos=10"."""
            return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

        @classmethod
        def create_from_arg_obj(cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None) -> "HyenaLM":
            """From a table of the same; `HyenaError` for an argument that there is not."""
            _check_arguments(arg_dict)
            return super().create_from_arg_obj(arg_dict, additional_config)

        def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
            """(context, continuation) each."""
            return self.harness.loglikelihood([request.args for request in requests])

        def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
            """(text,) each."""
            return self.harness.loglikelihood_rolling([request.args[0] for request in requests])

        def generate_until(self, requests: Sequence[Any]) -> list[str]:
            """(context, options) each."""
            return self.harness.generate_until([request.args for request in requests])

    return HyenaLM


def _check_arguments(names: Iterable[str]) -> None:
    """One clear line for an argument that there is not."""
    for name in names:
        if name not in ARGUMENTS:
            raise HyenaError(f"model_args has {name}{nearest(name, ARGUMENTS)}: use {', '.join(ARGUMENTS)}")


def _model(path: str | Path | LanguageModel, device: str | None) -> LanguageModel:
    """A model as it is, or a directory's. lm-eval says cuda:0 where nothing is said; without CUDA that is the processor."""
    unsaid = device is None or (device == UNSAID and not torch.cuda.is_available())
    return path if isinstance(path, LanguageModel) else language_model(path, "auto" if unsaid else str(device))


def language_model(path: str | Path, device: str) -> LanguageModel:
    """The language model of a directory, on a device; `HyenaError` for another kind."""
    model = load(path)
    if not isinstance(model, LanguageModel):
        raise HyenaError(f"{path} holds a {type(model).__name__}: a language model is needed")
    return model.to(device_for(device))


def evaluate(
    model: LanguageModel | str | Path,
    tasks: Sequence[str | Mapping[str, Any]],
    *,
    include_path: str | Path | None = None,
    num_fewshot: int | None = None,
    limit: int | float | None = None,
    bos: int | None = None,
    batch_size: int = BATCH_SIZE,
    max_memory: int | None = DEFAULT_MEMORY,
    confirm_run_unsafe_code: bool = False,
) -> dict[str, Any]:
    """What `lm_eval.simple_evaluate` returns for a model or a directory: `["results"][task]` are the numbers.

    tasks: names, or configurations; include_path: a directory of more tasks in YAML, and then lm-eval's own are not looked
    through; num_fewshot, limit: as there. bos, batch_size, max_memory: see `Harness`. confirm_run_unsafe_code: whether tasks
    may run code that the model wrote on this machine; otherwise lm-eval refuses them (ValueError) before anything is computed.
    """
    cls = register()
    import lm_eval
    from lm_eval.tasks import TaskManager

    lm = cls(model, batch_size=batch_size, bos=bos, max_memory=max_memory)
    directory = None if include_path is None else str(include_path)
    manager = TaskManager(include_path=directory, include_defaults=directory is None)
    return lm_eval.simple_evaluate(
        model=lm,
        tasks=list(tasks),
        num_fewshot=num_fewshot,
        limit=limit,
        task_manager=manager,
        confirm_run_unsafe_code=confirm_run_unsafe_code,
    )


def main() -> None:
    """lm-eval's own command line, where "hyena" is a model; our errors are one line and exit status 2."""
    try:
        register()
        from lm_eval.__main__ import cli_evaluate

        cli_evaluate()
    except HyenaError as error:
        sys.stderr.write(f"hyena: {error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
