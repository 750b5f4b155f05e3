"""How many stages run at a time on this machine, and with which GPUs: nvidia-smi is a script here."""

import os

import pytest

from data.pairs.errors import UserError
from pipeline.processes.tasks import local_places
from pipeline.slurm.options import check, options, parse_settings

TWO = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6)
  MIG 1g.5gb      Device  0: (UUID: MIG-c6d4f1ef)
  MIG 1g.5gb      Device  1: (UUID: MIG-cba663e8)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-9a2d1f3b)
"""
BROKEN = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Return what puts an nvidia-smi with such an output and exit code on PATH."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("SIAMESE_PROCESSES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def install(text: str, code: int) -> None:
        (tmp_path / "said").write_text(text)
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncat {tmp_path}/said\nexit {code}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)

    return install


def test_one_stage_runs_on_each_gpu_and_the_parts_of_a_card_are_no_gpus(nvidia_smi):
    nvidia_smi(TWO, 0)
    assert local_places() == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]


@pytest.mark.parametrize(
    ("text", "code"), [(BROKEN, 9), (BROKEN, 0), (TWO, 9), ("No devices were found\n", 0), ("", 0)]
)
def test_without_a_gpu_that_works_one_stage_runs_on_each_core(nvidia_smi, text, code):
    nvidia_smi(text, code)
    assert local_places() == [{}] * len(os.sched_getaffinity(0))


def test_a_stage_of_several_processes_has_all_gpus_and_runs_alone(nvidia_smi, monkeypatch):
    nvidia_smi(TWO, 0)
    monkeypatch.setenv("SIAMESE_PROCESSES", "2")
    assert local_places() == [{}]


def test_what_the_environment_shows_is_what_counts(nvidia_smi, monkeypatch):
    nvidia_smi(TWO, 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert local_places() == [{"CUDA_VISIBLE_DEVICES": "1"}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert local_places() == [{}] * len(os.sched_getaffinity(0))


def test_settings_go_to_sbatch_as_they_are_and_setup_may_have_several_lines():
    given = ["partition=gpu", "gpus_per_node=1", "exclusive=true", "comment=a=b", "setup=module load a", "setup=b"]
    settings = parse_settings(given)
    check(settings)
    assert settings["setup"] == "module load a\nb"
    wanted = ["--partition=gpu", "--gpus-per-node=1", "--exclusive", "--comment=a=b"]
    assert options("segment@phantom-real-real-unet-1-0", settings) == wanted


def test_several_nodes_are_for_what_several_processes_share():
    for stage, nodes in {"train@a-b": "2", "sample_volume@a-b-c-2": "2", "segment@a": "1", "report": "1"}.items():
        assert options(stage, {"nodes": "2"}) == [f"--nodes={nodes}"]


def test_what_no_job_of_a_stage_can_have_is_refused_at_once_with_the_reason(monkeypatch):
    monkeypatch.setenv("SBATCH_TIMELIMIT", "0:3:0")
    wrong = {"ntasks": "2", "ntasks-per-node": "2", "ntas": "2", "job_name": "x", "arr": "1-3", "nodes": "1-2"}
    with pytest.raises(UserError) as error:
        check({**wrong, "time": "2"})
    assert [line.partition(" ")[0].rstrip(":") for line in error.value.problems] == [
        *("arr", "job_name", "nodes", "ntas", "ntasks", "ntasks-per-node", "time", "SBATCH_TIMELIMIT")
    ]
    assert "SIAMESE_PROCESSES in the environment" in str(error.value)


@pytest.mark.parametrize("time", ["3", "3:59", "0:3:59", "0-0:3", "0-00:03:59"])
def test_a_time_that_ends_before_slurm_warns_is_refused_in_every_form(time):
    with pytest.raises(UserError, match="at least 4 minutes"):
        check({"time": time})


@pytest.mark.parametrize("time", ["0", "0-0", "4", "720", "4:00", "0:4:0", "1-0", "1-00:00:00", "UNLIMITED"])
def test_any_other_time_is_taken(time, monkeypatch):
    monkeypatch.delenv("SBATCH_TIMELIMIT", raising=False)
    check({"time": time})
