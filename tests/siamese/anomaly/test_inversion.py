"""Masks by textual inversion: learned on masks alone, resumed, drawn by seed, rejected as published, and written."""

import numpy as np
import pytest
import torch

from data.masks.config import InvertedMasks
from data.masks.masks import write_masks
from data.pairs.errors import UserError
from data.pairs.manifest import read_pairs
from siamese.anomaly import inversion as module
from siamese.anomaly.inversion import Inversion, fault_of, inverted_masks

ROW = InvertedMasks(
    kind="inverted", copies=2, seed=0, vectors=3, steps=4, batch=2, checkpoint_steps=2, sample_steps=2, attempts=2,
    threshold=-0.9, border=1.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def learned(base_dir, real, tmp_path_factory):
    found, work = Inversion(ROW, base_dir), tmp_path_factory.mktemp("inversion")
    start = found.words.vectors.detach().clone()
    found.learn("new", real.masks(), work)
    assert not torch.equal(start, found.words.vectors)
    return found, work


def test_the_words_alone_learn_and_resume_to_the_byte(learned, base_dir, real, tmp_path, monkeypatch):
    found, work = learned
    assert all(p.grad is None for frozen in (found.unet, found.vae, found.prompts) for p in frozen.parameters())
    original, calls = module.functional.mse_loss, []

    def crash(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(module.functional, "mse_loss", crash)
    again = Inversion(ROW, base_dir)
    with pytest.raises(KeyboardInterrupt):
        again.learn("new", real.masks(), tmp_path)
    again = Inversion(ROW, base_dir)
    again.learn("new", real.masks(), tmp_path)
    assert len(calls) == 6
    assert (tmp_path / module.SAVED).read_bytes() == (work / module.SAVED).read_bytes()


def test_a_kill_while_words_are_written_leaves_no_words(base_dir, real, tmp_path, monkeypatch):
    def cut(tensors, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(module, "save_file", cut)
        with pytest.raises(KeyboardInterrupt):
            Inversion(ROW, base_dir).learn("new", real.masks(), tmp_path)
    assert not (tmp_path / module.SAVED).exists()
    Inversion(ROW, base_dir).learn("new", real.masks(), tmp_path)
    assert [path.name for path in tmp_path.glob("words.*")] == [module.SAVED]


def test_a_mask_depends_on_its_seed_alone(learned):
    found = learned[0]
    together = found.draw([3, 4], 16)
    assert together.shape == (2, 32, 32)
    assert set(np.unique(together)) == {0, 1}
    assert (together[1:] != found.draw([4], 16)).mean() < 0.01
    assert (together[0] != together[1]).any()


def test_masks_are_rejected_as_published():
    mask = np.zeros((9, 9), np.uint8)
    assert fault_of(mask, 1 / 3) == "empty"
    mask[0, :3] = 1
    assert fault_of(mask, 1 / 3) == ""
    mask[0, 3] = 1
    assert fault_of(mask, 1 / 3) == "border"
    assert fault_of(mask.T, 1 / 3) == "border"
    assert fault_of(mask, 1.0) == ""


def test_new_masks_are_a_set_without_parents(learned, base_dir, real, tmp_path):
    new = inverted_masks(real, "new", ROW, base_dir, learned[1])
    assert set(new) == {(copy, pair.id) for copy in (1, 2) for pair in real.pairs if pair.foreground}
    counts = write_masks(real, "new", ROW, tmp_path / "out", new)
    assert counts["masks"] == 2 * len(real)
    first = read_pairs(tmp_path / "out" / "1")
    for pair, parent in zip(first.pairs, real.pairs, strict=True):
        made = new[1, parent.id]
        assert pair.id == f"{parent.id}-new-1"
        assert np.array_equal(first.labels(pair), made.labels)
        assert pair.parent == ("" if made.how["moves"] == "[]" else parent.id)
    one_copy = inverted_masks(real, "new", ROW.model_copy(update={"copies": 1}), base_dir, learned[1])
    assert all(np.array_equal(made.labels, new[key].labels) for key, made in one_copy.items())


def test_what_was_never_accepted_is_a_flipped_real_mask_or_an_error(learned, base_dir, real, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="all 2 draws of all masks were rejected"):
        inverted_masks(real, "new", ROW.model_copy(update={"threshold": 0.999}), base_dir, learned[1])
    monkeypatch.setattr(module, "fault_of", lambda labels, border: "" if labels.sum() % 2 else "border")
    new = inverted_masks(real, "new", ROW, base_dir, learned[1])
    flipped = [key for key, made in new.items() if made.how["moves"] != "[]"]
    assert 0 < len(flipped) < len(new)
    masks = {pair.id: real.labels(pair) for pair in real.pairs}
    assert all(np.array_equal(new[copy, parent].labels, masks[parent][:, ::-1]) for copy, parent in flipped)
    assert write_masks(real, "new", ROW, tmp_path / "out", new)["only_flipped"] == len(flipped)
