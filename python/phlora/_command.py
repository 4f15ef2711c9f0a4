"""The command `phlora`."""

import sys

from phlora import _phlora


def main() -> int:
    """Runs the command with the arguments of the process."""
    return _phlora.command(["phlora", *sys.argv[1:]])
