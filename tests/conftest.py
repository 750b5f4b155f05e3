"""Slow tests run only when they are asked for."""

import os

import pytest


def pytest_collection_modifyitems(items):
    if os.environ.get("SIAMESE_SLOW") != "1":
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow; set SIAMESE_SLOW=1"))
