"""One training and one sampling by several processes, also of two agents of torch: nodes, both on this machine."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from pipeline.processes.torch_launch import NODES, PROCESSES, wanted
from tests.pipeline.projects import edit, to_run

pytestmark = pytest.mark.graph

GENERATOR = ["--dataset", "phantom", "--generator", "controlnet", "--generator_seed", "0"]
TRAINED, DRAWN = (
    Path("outputs/generators/phantom/controlnet-g0"),
    Path("outputs/samples/x1/phantom/controlnet-g0-random"),
)


def largest_difference(found: Path, expected: Path) -> float:
    """Return the largest difference of any weight of two generators."""
    names = sorted(path.name for path in expected.glob("*.safetensors"))
    assert names == sorted(path.name for path in found.glob("*.safetensors"))
    pairs = [(load_file(found / name), load_file(expected / name)) for name in names]
    assert all(one.keys() == two.keys() for one, two in pairs)
    return max((one[key] - two[key]).abs().max().item() for one, two in pairs for key in one)


def assert_close(found: Path, expected: Path) -> None:
    """The gradients of two processes are added in another order: float32 differs in the last digits."""
    difference = largest_difference(found, expected)
    print(f"largest difference of a weight: {difference:.1e}")  # noqa: T201
    assert difference < 1e-5


def on_two_nodes(arguments: list[str]) -> None:
    """Run a stage as `srun` would on two nodes with one process on each."""
    with socket.socket() as free:
        free.bind(("", 0))
        meet = f"{socket.gethostname()}:{free.getsockname()[1]}"
    env = os.environ | {"SIAMESE_NODES": "2", "SIAMESE_MEET": meet}
    command = [sys.executable, "-m", "pipeline", *arguments]
    agents = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [agent.communicate(timeout=180)[1] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said


def test_two_agents_train_to_the_same_weights_nearly_and_draw_the_same_images(finished, project):
    shutil.rmtree(".work/sample")
    shutil.rmtree(DRAWN)
    on_two_nodes(["sample", *GENERATOR, "--masks", "random"])
    assert sha256_tree(DRAWN) == sha256_tree(finished / DRAWN)
    shutil.rmtree(".work/train")
    on_two_nodes(["train", *GENERATOR])
    assert_close(TRAINED, finished / TRAINED)


def test_two_processes_draw_the_same_images_and_leave_no_stage_to_run(finished, project, monkeypatch):
    """The outputs of a stage do not say how many processes made them."""
    monkeypatch.setenv("SIAMESE_PROCESSES", "2")
    shutil.rmtree(".work/sample")
    shutil.rmtree(DRAWN)
    subprocess.run([sys.executable, "-m", "pipeline", "sample", *GENERATOR, "--masks", "random"], check=True)
    assert sha256_tree(DRAWN) == sha256_tree(finished / DRAWN)
    assert to_run() == set()


def test_a_mistake_of_the_user_is_told_once_by_two_processes(project, monkeypatch):
    monkeypatch.setenv("SIAMESE_PROCESSES", "2")
    edit(lambda data: data["training"].update(batch=1))
    command = [sys.executable, "-m", "pipeline", "train", *GENERATOR]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("training.batch 1 is less than the 2 processes") == 1
    assert "Traceback" not in done.stderr


def test_a_number_of_processes_or_nodes_that_is_none_is_told(monkeypatch):
    monkeypatch.setenv("SIAMESE_PROCESSES", "many")
    with pytest.raises(UserError, match="SIAMESE_PROCESSES is 'many'"):
        wanted(PROCESSES)
    monkeypatch.setenv("SIAMESE_NODES", "two")
    with pytest.raises(UserError, match="SIAMESE_NODES is 'two'"):
        wanted(NODES)
