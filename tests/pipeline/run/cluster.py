"""A real Slurm for tests: two nodes on this machine, loopback only, started by root in a folder and stopped again."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

TOOLS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "slurmctld", "slurmd", "munged")
CONF = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/completed
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
KillWait=30
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
NodeName=left NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=1000
NodeName=right NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=1000
PartitionName=main Nodes=left,right Default=YES MaxTime=INFINITE PriorityTier=1
PartitionName=urgent Nodes=left,right MaxTime=60 PriorityTier=2
"""

needs_slurm = pytest.mark.skipif(
    os.geteuid() != 0 or any(shutil.which(tool) is None for tool in TOOLS),
    reason="no Slurm here that root can start: apt-get install slurm-wlm munge",
)


def slurm(*command: str) -> str:
    """Return what a command of Slurm prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_for_nodes(daemons: list[subprocess.Popen]) -> None:
    deadline = time.monotonic() + 60
    while True:
        answer = subprocess.run(["sinfo", "-h", "-o", "%T %D", "-p", "main"], capture_output=True, text=True)
        if answer.stdout.strip() == "idle 2":
            return
        assert time.monotonic() < deadline, answer.stdout + answer.stderr
        assert all(daemon.poll() is None for daemon in daemons), [daemon.args for daemon in daemons]
        time.sleep(0.2)


def _end(conf: Path, daemons: list[subprocess.Popen]) -> None:
    """Cancel every job, end the daemons, and whatever else still knows this configuration."""
    subprocess.run(["scancel", "--user=root"], check=False, capture_output=True)
    deadline = time.monotonic() + 20
    while subprocess.run(["squeue", "-h"], capture_output=True).stdout and time.monotonic() < deadline:
        time.sleep(0.3)
    for daemon in reversed(daemons):
        daemon.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(10)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("SLURM_CONF") == str(conf):
                process.kill()


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Path]:
    """Start a Slurm whose files lie in a folder, point SLURM_CONF to it, yield the folder and leave nothing running."""
    (folder / "state").mkdir(parents=True)
    conf, log = folder / "slurm.conf", (folder / "daemons.log").open("w")
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    conf.write_text(CONF.format(folder=folder, ports=_free_ports(3)))
    munge = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={folder}/munge.key"]
    munge += [f"--{name}-file={folder}/munge.{name}" for name in ("log", "pid", "seed")]
    patch, daemons = pytest.MonkeyPatch(), []
    patch.setenv("SLURM_CONF", str(conf))
    try:
        for command in (
            munge,
            ["slurmctld", "-D", "-i"],
            *(["slurmd", "-D", "-N", name] for name in ("left", "right")),
        ):
            daemons.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
            while command is munge and not (folder / "munge.socket").exists():
                assert daemons[0].poll() is None, "munged"
                time.sleep(0.05)
        _wait_for_nodes(daemons)
        yield folder
    finally:
        _end(conf, daemons)
        patch.undo()
        log.close()
