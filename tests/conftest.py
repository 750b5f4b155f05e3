"""All tests: one thread in every process, opt-in ones only when asked for, an order that two workers share well."""

import os
from itertools import groupby

import pytest

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before torch: sums are rounded by the number of threads


def rank(items: list[pytest.Item]) -> int:
    """Return 0 for a module that runs DVC's graph, 1 for another whose tests are all heavy, 2 for the others."""
    if any(item.get_closest_marker("graph") for item in items):
        return 0
    return 1 if all(item.get_closest_marker("heavy") for item in items) else 2


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("slow") and os.environ.get("SIAMESE_SLOW") != "1":
            item.add_marker(pytest.mark.skip(reason="slow; set SIAMESE_SLOW=1"))
        if hasattr(item.module, "chromium") or "browser" in item.fixturenames:
            item.add_marker(pytest.mark.heavy)
    modules = [list(module) for _, module in groupby(items, lambda item: item.path)]
    items[:] = [item for module in sorted(modules, key=rank) for item in module]


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    """The folder in which `browser` saves what it downloads."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads):
    """A Chromium for the tests of a module, which are skipped where there is none."""
    from tests.browser import chromium

    with chromium(downloads) as driver:
        yield driver


@pytest.fixture(scope="session", autouse=True)
def dvc_of_this_session(tmp_path_factory):
    """Keep what DVC knows of files, by their paths, out of the folder that all of this machine share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("dvc")))
        patch.setenv("DVC_NO_ANALYTICS", "1")
        yield
