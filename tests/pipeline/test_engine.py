"""One small graph, run by dvc one stage at a time and by worker processes: the same bytes, and no half outputs."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from data.pairs.files import sha256_tree
from pipeline.__main__ import main
from tests.pipeline.projects import edit, stand_in_project
from tests.pipeline.test_graph import shrink

pytest.importorskip("submitit")
pytestmark = pytest.mark.graph

TARGETS = [
    "judge@phantom",
    "segment_baseline@phantom-real-real-unet-1-0",
    "segment_baseline@phantom-real-real-unet-1-1",
]


def two_seeds(data) -> None:
    shrink(data)
    data["comparison"]["seeds"] = [0, 1]


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """Return two equal repositories of what git tracks, with a small params.yaml, and stand in the second."""
    root = tmp_path_factory.mktemp("engine")
    serial, workers = root / "serial", root / "workers"
    patch = pytest.MonkeyPatch()
    patch.setenv("OMP_NUM_THREADS", "1")
    stand_in_project(serial, two_seeds, patch)
    shutil.copytree(serial, workers)
    patch.chdir(workers)
    yield serial, workers
    patch.undo()


def repro(*arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pipeline", "repro", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def left_to_do() -> dict:
    with Repo() as repo:
        return repo.status(TARGETS)


def lock(folder: Path) -> dict:
    return YAML(typ="safe").load(folder / "dvc.lock")


def test_two_workers_leave_the_bytes_of_a_serial_run(projects):
    serial, workers = projects
    subprocess.run([sys.executable, "-m", "dvc", "repro", *TARGETS], cwd=serial, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "dvc", "config", "--local", "core.hardlink_lock", "true"], check=True)
    done = repro("--engine", "workers", "--jobs", "2", *TARGETS)
    assert done.returncode == 0, done.stderr
    assert len(list((workers / ".work/jobs").glob("*_result.pkl"))) == 5, "every stage was a worker's"
    for folder in ("results", "outputs", "data/processed"):
        assert sha256_tree(workers / folder) == sha256_tree(serial / folder)
    assert len(list(Path("results/segmentation").rglob("*.json"))) == 2
    assert lock(workers) == lock(serial)
    assert left_to_do() == {}


def test_a_stage_that_fails_is_named_with_its_log_and_the_others_go_on(projects):
    before = Path("params.yaml").read_text()
    edit(lambda data: data.update(judge={**data["judge"], "encoder": "tu-nonesuch"}))
    edit(lambda data: data["comparison"].update(seeds=[0, 1, 2]))
    third = "segment_baseline@phantom-real-real-unet-1-2"
    done = repro("--engine", "workers", "--jobs", "2", "judge@phantom", third)
    Path("params.yaml").write_text(before)
    assert done.returncode == 2
    assert "1 stages failed, 0 that need them did not run\n  judge@phantom:" in done.stderr
    assert "encoder 'tu-nonesuch' is unknown" in done.stderr
    assert f"done  {third}" in done.stderr


def processes_here() -> list[str]:
    """Return the commands of all processes that stand in this folder, but for this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and (process / "cwd").readlink() == Path.cwd():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_a_launcher_that_is_told_to_end_leaves_no_half_outputs_and_a_rerun_goes_on(projects):
    edit(lambda data: data["architectures"]["unet"].update(epochs=150))
    target, work = TARGETS[1], Path(".work/segment/phantom/unet/real-real-x1-s0")
    out = Path("outputs/segmenters/phantom/unet/real-real-x1-s0")
    command = [sys.executable, "-m", "pipeline", "repro", "--engine", "workers", target]
    launcher = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not [path for path in work.glob("*") if path.is_dir()]:  # the stage has begun to train
        assert launcher.poll() is None, launcher.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    launcher.send_signal(signal.SIGTERM)
    _, said = launcher.communicate(timeout=60)
    assert launcher.returncode == 2
    assert "stopped: what was running goes on" in said
    assert not out.exists()
    assert not list(out.parent.glob(".*partial"))
    assert target in left_to_do()
    assert processes_here() == []
    done = repro(target)  # the engines can be mixed
    assert done.returncode == 0, done.stderr
    assert out.is_dir()
    assert target not in left_to_do()


def test_a_job_whose_time_is_nearly_over_is_queued_again_and_ends_well(projects):
    """Slurm says so by SIGUSR2; submitit's local executor starts the job again as Slurm would."""
    edit(lambda data: data.update(judge={**data["judge"], "epochs": 100}))
    command = [sys.executable, "-m", "pipeline", "repro", "--engine", "workers", "judge@phantom"]
    launcher = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def processes(word: str) -> list[psutil.Process]:
        return [one for one in psutil.Process(launcher.pid).children(recursive=True) if word in one.cmdline()]

    deadline = time.monotonic() + 60
    while not processes("judge"):
        assert launcher.poll() is None, launcher.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (job,) = processes("submitit.core._submit")
    job.send_signal(signal.SIGUSR2)
    _, said = launcher.communicate(timeout=120)
    assert launcher.returncode == 0, said
    assert any("Requeued" in path.read_text() for path in Path(".work/jobs").glob("*_log.out"))
    assert "judge@phantom" not in left_to_do()


SBATCH = """#!/bin/sh
cp "$1" {folder}/script.sh
export SLURM_JOB_ID=$$ SLURM_JOB_NUM_NODES=1 SLURM_NTASKS=1 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0
(bash "$1" >{folder}/out 2>&1 &)
echo "Submitted batch job $$"
"""
SRUN = """#!/bin/sh
while [ "$1" != {python} ]; do shift; done
exec "$@"
"""


def test_slurm_is_handed_one_job_a_stage_with_the_settings_given(projects, tmp_path, monkeypatch):
    """sbatch, srun and sacct are replaced by scripts that run the job here; there is no cluster in a test."""
    scripts = {
        "sbatch": SBATCH.format(folder=tmp_path),
        "srun": SRUN.format(python=sys.executable),
        "sacct": "#!/bin/sh",
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    target = "baseline@phantom-duplicate"
    monkeypatch.setenv("PATH", os.environ["PATH"].replace(str(tmp_path), ""))
    missing = repro("--engine", "slurm", target)
    assert (missing.returncode, "there is no srun here" in missing.stderr) == (2, True)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    wrong = repro("--engine", "slurm", "--set", "partitoin=gpu", target)
    assert (wrong.returncode, "partitoin" in wrong.stderr, "Traceback" in wrong.stderr) == (2, True, False)
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho 'invalid partition specified' >&2; exit 1\n")
    refused = repro("--engine", "slurm", target)
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False), refused.stderr
    assert "invalid partition specified" in refused.stderr
    (tmp_path / "sbatch").write_text(scripts["sbatch"])
    done = repro("--engine", "slurm", "--set", "partition=gpu", "--set", "gpus_per_node=1", target)
    assert done.returncode == 0, done.stderr + (tmp_path / "out").read_text()
    script = (tmp_path / "script.sh").read_text()
    assert "#SBATCH --partition=gpu" in script
    assert "#SBATCH --gpus-per-node=1" in script
    assert Path("outputs/samples/phantom/duplicate-real/x1/manifest.csv").is_file()


def test_an_unknown_engine_and_settings_without_a_value_are_told(projects):
    unknown, broken = repro("--engine", "slurn"), repro("--engine", "slurm", "--set", "time")
    assert "did you mean 'slurm'" in unknown.stderr
    assert "--set takes KEY=VALUE" in broken.stderr
    assert (unknown.returncode, broken.returncode) == (2, 2)


def test_without_submitit_the_engines_that_need_it_say_so(projects, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main(["repro", "--engine", "workers"]) == 2
    assert "pip install submitit" in capsys.readouterr().err
