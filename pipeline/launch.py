"""Several processes for one stage: SIAMESE_PROCESSES=4 dvc repro. params.yaml and every hash stay as they are."""

import logging
import os
import sys

from data.pairs.errors import UserError

VARIABLE = "SIAMESE_PROCESSES"


def processes_to_start() -> int:
    """Return how many processes this one should start in its place: 1 is none, and one that was started is alone.

    Raises: UserError when the variable is no positive number.
    """
    value = os.environ.get(VARIABLE, "1")
    if not value.isdigit() or int(value) < 1:
        raise UserError(f"{VARIABLE} is '{value}' in the environment: set it to the number of processes, such as 2")
    return 1 if "RANK" in os.environ else int(value)


def launch(count: int, arguments: list[str]) -> int:
    """Run `python -m pipeline ARGUMENTS` in `count` processes that accelerate finds; return their exit code.

    When one fails, the others are stopped. This is what accelerate launch does, without its traceback.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "pipeline", *arguments)
    except ChildFailedError as error:
        return max(failure.exitcode for failure in error.failures.values())
    return 0
