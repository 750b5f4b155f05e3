"""One training and one sampling by two agents of torch, as on two nodes: here both are on this machine."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from data.pairs.files import sha256_tree
from pipeline.cli import main
from tests.pipeline.projects import project_to_train_in
from tests.pipeline.test_graph import shrink

pytestmark = pytest.mark.graph

GENERATOR = ["--dataset", "phantom", "--generator", "controlnet"]


def largest_difference(found: Path, wanted: Path) -> float:
    """Return the largest difference of any weight of two generators."""
    names = sorted(path.name for path in wanted.glob("*.safetensors"))
    assert names == sorted(path.name for path in found.glob("*.safetensors"))
    pairs = [(load_file(found / name), load_file(wanted / name)) for name in names]
    assert all(one.keys() == two.keys() for one, two in pairs)
    return max((one[key] - two[key]).abs().max().item() for one, two in pairs for key in one)


def assert_close(found: Path, wanted: Path) -> None:
    """The gradients of two processes are added in another order: float32 differs in the last digits."""
    difference = largest_difference(found, wanted)
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


def test_two_agents_train_to_the_same_weights_nearly_and_draw_the_same_images(tmp_path, monkeypatch):
    project_to_train_in(tmp_path / "project", shrink, monkeypatch)
    trained, drawn = Path("outputs/generators/phantom/controlnet"), Path("outputs/samples/phantom/controlnet-random/x1")
    assert main(["train", *GENERATOR]) == 0
    assert main(["sample", *GENERATOR, "--masks", "random"]) == 0
    shutil.copytree("outputs", "alone")
    shutil.rmtree(".work/sample")
    shutil.rmtree(drawn)
    on_two_nodes(["sample", *GENERATOR, "--masks", "random"])
    assert sha256_tree(drawn) == sha256_tree("alone" / drawn.relative_to("outputs"))
    on_two_nodes(["train", *GENERATOR])
    assert_close(trained, "alone" / trained.relative_to("outputs"))


def test_a_number_of_nodes_that_is_none_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SIAMESE_NODES", "two")
    from pipeline.processes.torch_launch import NODES, wanted

    with pytest.raises(Exception, match="SIAMESE_NODES is 'two'"):
        wanted(NODES)
