"""The one exception for what a user can mend: every room may raise it, the command line prints it as one line."""


class HyenaError(ValueError):
    """Bad input from outside: a file, an option, a shape.

    The message is one line that names the thing, the value and the cure. It is a `ValueError`, so library users need not
    know this class; the command line catches it, prints the line and exits with status 2.
    """
