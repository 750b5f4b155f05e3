"""The notebook runs from top to bottom in a project of toy size, and stops where a command of it fails."""

import os

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.contracts.imports import ROOT

pytestmark = [pytest.mark.graph, pytest.mark.heavy]
NOTEBOOK = ROOT / "notebooks/first_ten_minutes.ipynb"


@pytest.fixture
def notebook(project, tmp_path, monkeypatch):
    """Return the notebook and a client of it that stands in notebooks/ of a project in which all stages have run."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", str(project))
    read = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(read)
    client = NotebookClient(
        read, timeout=120, startup_timeout=120, resources={"metadata": {"path": os.fspath(project / "notebooks")}}
    )
    return read, client


def outputs(read) -> dict[str, list]:
    return {cell.id: cell.outputs for cell in read.cells if cell.cell_type == "code"}


def test_it_runs_and_shows_pairs_and_table(notebook):
    read, client = notebook
    assert not any(outputs(read).values()), "save the notebook without outputs"
    client.execute()
    shown = outputs(read)
    assert "image/png" in shown["pairs"][0].data
    assert "| siamese |" in shown["table"][0].data["text/markdown"]
    assert "(32, 32, 3) uint8" in shown["manifest"][0].text
    assert "up to date" in shown["plan"][0].text
    assert "datasets:" in shown["doctor"][0].text


def test_a_command_that_fails_stops_it(notebook, project):
    read, client = notebook
    (project / "params.yaml").write_text("comparison: {}\n")
    with pytest.raises(CellExecutionError, match="exit status 2"):
        client.execute()
    assert outputs(read)["run"] == []
