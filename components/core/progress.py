"""What a step prints while it works: its log lines, on standard output, where pods and the local runner show them."""

import logging
import sys


def log_to_stdout() -> None:
    """Send INFO and above of our own modules, and WARNING and above of all others, to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("components").setLevel(logging.INFO)
