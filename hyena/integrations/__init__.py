"""FLOOR 6: hyena inside of other libraries, each an extra of its own; nothing is imported that a user does not ask for."""
