"""Every initialiser in one place: the published initialisations of safari's language models and of StripedHyena 2.

| tensor | initial value |
|---|---|
| weights of linear maps, those of the filters' MLPs included | N(0, std^2), std = `init_std` (a filter's own, if given) |
| their biases | 0 |
| output projections of mixers and MLPs | N(0, (std / sqrt(2 n))^2) for n layers; `out_init` wang: N(0, (2 / (n sqrt(D)))^2) |
| embeddings | N(0, std^2) |
| norms | weight 1, bias 0 |
| short convolutions | U(+-1 / sqrt(taps)), as PyTorch has it |
| skip of a long convolution | N(0, 1) |
| sine frequencies, grids, windows | their formulas |
| complex modal filters | poles of the given sizes at all angles, residues so that a filter's energy is 1 |
| real modal filters | p = -1, gamma U(0.01, 0.1), residues N(0, 0.01 / S) |
| explicit filters | U(+-1 / sqrt(K)), as PyTorch has it; under a decay over T tokens N(0, 1 / T) |

The last seven are set where the module is built. A mixer outside a model keeps PyTorch's initial linear maps, as published.
"""

from torch import nn

from hyena.configs.model import ModelConfig
from hyena.modules.filters import ImplicitFilter


def initialise(model: nn.Module, config: ModelConfig) -> None:
    """Draw the table's first four rows, in place."""
    std = config.initial_std
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            into_stream = name.endswith((".out_proj", ".down_proj"))
            nn.init.normal_(module.weight, std=config.initial_out_std if into_stream else std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=std)
    for module in model.modules():
        if isinstance(module, ImplicitFilter) and module.config.init_std is not None:
            for linear in [*module.layers, module.out]:
                nn.init.normal_(linear.weight, std=module.config.init_std)
