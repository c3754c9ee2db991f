"""The options of a run: values without a meaning are refused, in Python as in a file."""

import math

import pytest

from hyena.configs.data import DataConfig
from hyena.configs.mixers import AttentionConfig, HyenaConfig
from hyena.configs.training import OptimizerConfig, RunConfig, TrainingConfig
from tests.helpers import refused
from tests.training.runs import MODEL

WRONG = {
    "first moment": (OptimizerConfig, {"beta1": 1.5}, ("beta1", "1.5")),
    "second moment": (OptimizerConfig, {"beta2": 1.0}, ("beta2", "1.0")),
    "rate that is no number": (OptimizerConfig, {"lr": math.nan}, ("lr", "nan")),
    "filters' rate": (OptimizerConfig, {"filter_lr": 0.0}, ("filter_lr", "0.0")),
    "decay that is no number": (OptimizerConfig, {"weight_decay": math.nan}, ("weight_decay", "nan")),
    "warm-up": (OptimizerConfig, {"warmup": 2.0}, ("warmup", "2.0")),
    "infinite rate": (OptimizerConfig, {"lr": math.inf}, ("lr", "inf")),
    "enormous rate": (OptimizerConfig, {"lr": 10**400}, ("lr", "401 digits")),
    "infinite decay": (OptimizerConfig, {"weight_decay": math.inf}, ("weight_decay", "inf")),
    "no place": (RunConfig, {"directory": "", "model": MODEL, "data": DataConfig(files=("a",))}, ("directory is empty",)),
    "nothing kept": (TrainingConfig, {"keep": 0}, ("keep", "0")),
    "one held-out token": (TrainingConfig, {"valid_tokens": 1}, ("valid_tokens", "1", "at least 2")),
    "average of nothing": (OptimizerConfig, {"ema": 1.0}, ("ema", "1.0")),
    "all of the steps": (TrainingConfig, {"start_fraction": 1.0}, ("start_fraction", "1.0")),
    "no steps": (TrainingConfig, {"steps": 0}, ("steps", "0")),
    "large seed": (TrainingConfig, {"seed": 2**64}, ("seed", str(2**64))),
    "negative seed": (TrainingConfig, {"seed": -1}, ("seed", "-1")),
    "precision": (TrainingConfig, {"precision": "bf16"}, ("'bf16'", "bfloat16")),
    "dropout of a mixer": (HyenaConfig, {"dropout": 1.5}, ("dropout", "1.5")),
    "dropout of attention": (AttentionConfig, {"dropout": 1.0}, ("dropout", "1.0")),
    "base of the rotation": (AttentionConfig, {"rotary_base": -1.0}, ("rotary_base", "-1.0")),
}


@pytest.mark.parametrize("case", WRONG)
def test_values_without_a_meaning_are_refused(case: str):
    cls, options, parts = WRONG[case]
    with refused(*parts):
        cls(**options)
