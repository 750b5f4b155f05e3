"""Hostile archives in processes of their own: the first reader is guarded too."""

import random

import pytest

from data.acquire import members
from data.acquire import unpack as unpacking
from data.acquire.unpack import unpack
from data.pairs.errors import UserError
from tests.campaigns import archives


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_the_first_header_of_a_tar_is_refused_before_it_is_read(tmp_path, kind):
    info = archives.member("header", kind)
    info.size = 2**30
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(info.tobuf())
        file.truncate(2**30 + 512)  # all zeros, and really there
    outcome, peak_mib = archives.in_a_process(tmp_path / "a.tar", tmp_path / "out")
    assert outcome == "refused"
    assert 0 < peak_mib < archives.MOST_MIB


def test_the_list_of_a_zip_is_refused_before_it_is_read(tmp_path, monkeypatch):
    (tmp_path / "a.zip").write_bytes(archives.zip_many(random.Random(0)))
    for module in (members, unpacking):
        monkeypatch.setattr(module, "MAX_MEMBERS", 100)
    with pytest.raises(UserError, match="more than 100 members"):
        unpack(tmp_path / "a.zip", tmp_path / "out", 10**9)


@pytest.mark.heavy
def test_the_campaign_finds_nothing_in_a_few_cases():
    counts = archives.run(11, seed=1)
    assert counts["failures"] == []
    assert 0 < counts["peak_mib"] < archives.MOST_MIB
