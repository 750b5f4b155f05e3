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
    """Run `python -m pipeline ARGUMENTS` in `count` processes and return their exit code.

    Each has a GPU of its own; without any they share the cores. When one fails, the others are stopped. accelerate
    launch does the same on GPUs, and ends in a traceback then.
    """
    import torch
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if not torch.cuda.is_available():
        os.environ["ACCELERATE_USE_CPU"] = "true"  # without it accelerate lets each of them work alone
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // count)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id="siamese",
        max_restarts=0,
        monitor_interval=0.1,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "pipeline", *arguments)
    except ChildFailedError as error:
        return max(failure.exitcode for failure in error.failures.values())
    return 0
