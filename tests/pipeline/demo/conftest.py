"""The page of a project with an untrained generator of toy width; tests change nothing in it."""

import threading

import pytest

from pipeline.demo.server import PageServer
from tests.siamese.conftest import base_dir, real  # noqa: F401
from tests.siamese.generate.conftest import drawn, project  # noqa: F401


@pytest.fixture(scope="module")
def page_server(project):  # noqa: F811
    with PageServer(project, "127.0.0.1", 0, "cpu") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
