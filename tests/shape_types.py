"""The shapes in the annotations of `hyena`, checked at every call while the tests run."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, get_args

import jaxtyping


def install() -> None:
    """Check what is imported of `hyena` from now on, where beartype is installed (the extra `test`)."""
    if find_spec("beartype") is not None:
        jaxtyping.install_import_hook("hyena", "tests.shape_types.checked")


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under beartype if it speaks of tensors' shapes; all else stays as it is."""
    from beartype import beartype

    return beartype(function) if any(map(has_shape, function.__annotations__.values())) else function


def has_shape(annotation: Any) -> bool:
    """Whether an annotation is a shape such as `Float[Tensor, "B L D"]`, or holds one."""
    if isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(map(has_shape, get_args(annotation)))
