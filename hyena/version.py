"""The version, where everything below the package's own `__init__` can know it."""

__version__ = "0.1.0"
