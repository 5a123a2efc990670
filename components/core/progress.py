"""What a step prints while it works: its log lines, on standard output, where pods and the local runner show them."""

import logging
import os
import sys
import warnings


def log_to_stdout() -> None:
    """Send INFO and above of our own modules, and WARNING and above of all others, to standard output.

    Call it before a heavy import: the libraries read then whether to draw progress bars, of which a log would hold
    a line for every redraw.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.simplefilter("ignore", FutureWarning)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("components").setLevel(logging.INFO)
    # a level would not do: it sets its own when it is imported
    logging.getLogger("DeepSpeed").addFilter(lambda record: record.levelno >= logging.ERROR)
    # peft imports it wherever it is installed; it warns of kernels for CPUs, and at each 8-bit product of its rounding
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
