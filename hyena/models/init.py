"""Every initialiser in one place: the published initialisation of safari's language models.

| tensor | initial value |
|---|---|
| weights of linear maps, those of the filters' MLPs included | N(0, std^2), std = `init_std` (a filter's own, if given) |
| their biases | 0 |
| output projections of mixers and MLPs | N(0, (std / sqrt(2 n_layers))^2) |
| embeddings | N(0, std^2) |
| norms | weight 1, bias 0 |
| short convolutions | U(+-1 / sqrt(taps)), as PyTorch has it |
| skip of a long convolution | N(0, 1) |
| sine frequencies, grids, windows | their formulas |
| modal filters | poles of the given sizes at all angles, residues so that a filter's energy is 1 |

The last five are set where the module is built. A mixer outside a model keeps PyTorch's initial linear maps, as published.
"""

import math

from torch import nn

from hyena.modules.filters import ImplicitFilter


def initialise(model: nn.Module, layers: int, std: float) -> None:
    """Draw the table's first four rows, in place; `layers` is the number of blocks."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            into_stream = name.endswith((".out_proj", ".down_proj"))
            nn.init.normal_(module.weight, std=std / math.sqrt(2 * layers) if into_stream else std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=std)
    for module in model.modules():
        if isinstance(module, ImplicitFilter) and module.config.init_std is not None:
            for linear in [*module.layers, module.out]:
                nn.init.normal_(linear.weight, std=module.config.init_std)
