"""Several processes for one stage: SIAMESE_PROCESSES=4 dvc repro. params.yaml and every hash stay as they are.

On several nodes of a Slurm job SIAMESE_PROCESSES is the number on each. The stage starts one agent of torch on every
node by `srun`; the agents meet at the address in SIAMESE_MEET and start the processes.
"""

import logging
import os
import socket
import subprocess
import sys

from data.pairs.errors import UserError
from data.pairs.training import check_gpus
from pipeline.processes import leash

PROCESSES, NODES, MEET = "SIAMESE_PROCESSES", "SIAMESE_NODES", "SIAMESE_MEET"
PARALLEL = ("train", "sample", "sample_volume")  # the verbs that several processes can share


def wanted(variable: str) -> int:
    """Return how many processes, or nodes, take the place of this one: 1 is none. Raises: UserError for no number."""
    value = os.environ.get(variable, "1")
    if not value.isdigit() or int(value) < 1:
        what = variable.removeprefix("SIAMESE_").lower()
        raise UserError(f"{variable} is '{value}' in the environment: set it to the number of {what}, such as 2")
    return 1 if "RANK" in os.environ else int(value)


def _agent_on_every_node(nodes: int, arguments: list[str]) -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        os.environ[MEET] = f"{socket.gethostname()}:{free.getsockname()[1]}"
    command = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--cpu-bind=none"]
    command += ["--kill-on-bad-exit=1", "--export=ALL", sys.executable, "-m", "pipeline", *arguments]
    with subprocess.Popen(command, env=os.environ | {leash.VARIABLE: ""}) as agents:  # those are of this node
        try:
            return agents.wait()
        except KeyboardInterrupt:  # srun keeps a first Ctrl-C to itself: this tells the agents and what they started
            subprocess.run(["scancel", "--quiet", "--signal=INT", os.environ["SLURM_JOB_ID"]], check=False)
            return agents.wait() or 1


def launch(count: int, nodes: int, arguments: list[str]) -> int:
    """Run `python -m pipeline ARGUMENTS` in `count` processes on each of `nodes` nodes and return their exit code.

    Each has a GPU of its own; without any they share the cores. When one fails, the others are stopped. accelerate
    launch does the same on GPUs, and ends in a traceback then.
    """
    if nodes > 1 and MEET not in os.environ:
        return _agent_on_every_node(nodes, arguments)

    import torch
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    check_gpus()
    if not torch.cuda.is_available():
        os.environ["ACCELERATE_USE_CPU"] = "true"  # without it accelerate lets each of them work alone
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // count)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint=os.environ.get(MEET, "localhost:0"),
        run_id="siamese",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "pipeline", *arguments)
    except ChildFailedError as error:
        return max(failure.exitcode for failure in error.failures.values())
    except SignalException as stopped:
        return 128 + stopped.sigval
    return 0
