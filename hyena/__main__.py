"""`python -m hyena` is the command `hyena`."""

import sys

from hyena.cli import main

if __name__ == "__main__":
    sys.exit(main())
