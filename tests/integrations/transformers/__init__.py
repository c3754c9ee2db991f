"""Skipped as a whole where transformers is not installed."""

import os

import pytest

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
pytest.importorskip("transformers", reason="transformers (the extra `hf`) is not installed")
