"""One stage: a verb of `pipeline/stages`, alone or in several processes, held to what it was started with."""

import importlib
import os
import signal
import time
from typing import Any

from data.pairs.files import is_main_process
from pipeline.processes import leash

STOPPING = (signal.SIGINT, signal.SIGTERM)


def _stop_once(*_: object) -> None:
    """Interrupt this process, and let nothing that is said later disturb its tidying up."""
    for word in STOPPING:
        signal.signal(word, signal.SIG_IGN)
    raise KeyboardInterrupt


def run_stage(verb: str, item: dict[str, Any], arguments: list[str]) -> int:
    """Run one stage, here or in several processes, and hold params.yaml and its inputs to what they were at its start.

    Returns the exit code. Raises: UserError when they have changed: DVC then records nothing.
    """
    from pipeline.params.read import load_params
    from pipeline.plan.times import record
    from pipeline.processes.torch_launch import NODES, PARALLEL, PROCESSES, launch, wanted
    from pipeline.record.lock_file import keep_copy
    from pipeline.record.snapshot import Snapshot

    alone = "RANK" not in os.environ  # one of several is held to nothing: the process that started them is
    if "DVC_STAGE" in os.environ:  # a shell's background ignores INT, `repro` lets DVC ignore TERM
        for word in STOPPING if alone else STOPPING[:1]:
            signal.signal(word, _stop_once)
        if leash.VARIABLE not in os.environ:  # plain dvc, which may cut dvc.lock when it records this stage
            keep_copy()
    stage = importlib.import_module(f"pipeline.stages.{verb}")
    snapshot = Snapshot([key.format(**item) for key in stage.READS.values()]) if alone else None
    params = load_params(stage.READS, item)
    count, nodes = (wanted(PROCESSES), wanted(NODES)) if verb in PARALLEL else (1, 1)
    if count * nodes > 1:
        if code := launch(count, nodes, arguments):
            return code
    else:
        start = time.monotonic()
        try:
            stage.run(item, params)
        except Exception:
            if not is_main_process():
                time.sleep(5)  # the main process has the same to say, and ends all others when it says so
            raise
        record(verb, item, time.monotonic() - start)
    if snapshot:
        snapshot.check()
    return 0
