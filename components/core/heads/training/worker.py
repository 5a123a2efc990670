"""One of several processes of a head's training, as torchrun starts it: python -m <this module> JOB_FILE."""

import sys
from pathlib import Path

from components.core.heads.training.job import read_job
from components.core.heads.training.process import train
from components.core.settings import load_settings
from components.core.training.distributed.worker import take_part


def main(job_file: Path) -> None:
    """Take part in a job."""
    take_part(job_file, lambda ranks: train(read_job(job_file), load_settings(), ranks))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
