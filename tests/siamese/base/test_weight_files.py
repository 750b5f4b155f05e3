"""Weights that others have saved are read without running their code."""

import os
import pickle
import sys
import types

import pytest
import torch

from data.pairs.errors import UserError
from siamese.base.checkpoint_files import read_checkpoint


def test_lightning_files_are_read_without_their_classes(tmp_path, monkeypatch):
    gone = types.ModuleType("lightning_of_old")
    for kind in (object, dict, list):
        name = f"Odd{kind.__name__.title()}"
        setattr(gone, name, type(name, (kind,), {"__module__": gone.__name__}))
    gone.Odd = type("Odd", (), {"__module__": gone.__name__, "__reduce__": lambda self: (gone.odd, (1,), {"x": 1})})
    gone.odd = types.FunctionType((lambda value: value).__code__, {}, "odd")
    gone.odd.__module__, gone.odd.__qualname__ = gone.__name__, "odd"
    monkeypatch.setitem(sys.modules, gone.__name__, gone)
    state = {"a": torch.arange(6.0).view(2, 3), "b": torch.nn.Parameter(torch.ones(2).half())}
    thing, table, row = gone.OddObject(), gone.OddDict(x=torch.ones(1)), gone.OddList([1, 2])
    thing.field = {table.__class__: 1, frozenset({2}): row}
    extras = {"callbacks": thing, "table": table, "row": row, "key": {gone.Odd(): 1}, "step": 7, "dtype": torch.float16}
    torch.save({"state_dict": state | {"note": "text"}, **extras}, tmp_path / "x.ckpt")
    monkeypatch.delitem(sys.modules, gone.__name__)
    read = read_checkpoint(tmp_path / "x.ckpt")
    assert list(read) == ["a", "b"]
    assert torch.equal(read["a"], state["a"])
    assert read["b"].dtype == torch.float16
    assert not read["b"].requires_grad


@pytest.mark.parametrize("inside", [False, True])
def test_code_in_a_pickle_is_not_run(tmp_path, inside):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was_run"),)

    state = {"a": torch.ones(1), "evil": Evil()}
    torch.save({"state_dict": state} if inside else state, tmp_path / "x.pt")
    assert list(read_checkpoint(tmp_path / "x.pt")) == ["a"]
    assert not (tmp_path / "was_run").exists()
    torch.load(tmp_path / "x.pt", weights_only=False)  # would have run it
    assert (tmp_path / "was_run").exists()


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    for name in ("text.ckpt", "text.safetensors"):
        (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\n")
    torch.save({"a": torch.ones(1000)}, tmp_path / "whole.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:2000])
    (tmp_path / "bare.bin").write_bytes(pickle.dumps({"a": 1}))
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), tmp_path / "script.pt")
    for name in ("text.ckpt", "text.safetensors", "half.pt", "bare.bin", "script.pt"):
        with pytest.raises(UserError, match="cannot be read"):
            read_checkpoint(tmp_path / name)
    with pytest.raises(UserError, match="is missing"):
        read_checkpoint(tmp_path / "no.ckpt")
    for content in ({"epoch": 1}, torch.ones(2), {"state_dict": {}}):
        torch.save(content, tmp_path / "empty.pth")
        with pytest.raises(UserError, match="no tensors"):
            read_checkpoint(tmp_path / "empty.pth")
