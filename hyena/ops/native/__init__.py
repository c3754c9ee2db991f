"""The compiled kernel of the long convolution: which library is used, why, and how to be without it."""

from hyena.ops.native.library import ABI, LEVELS, Status, disable, library, load, status

__all__ = ["ABI", "LEVELS", "Status", "disable", "library", "load", "status"]
