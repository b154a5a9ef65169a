"""A running service on a small generator, and a client that talks to it without a network."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from posegpt_cli.serving.app import make_app
from posegpt_cli.serving.service import Service, make_service
from posegpt_cli.serving.settings import Limits

HOME = "http://127.0.0.1:8765"


@pytest.fixture(scope="session")
def service(small_generator) -> Iterator[Service]:
    made = make_service(small_generator, "cpu", Limits())
    yield made
    made.stop()


@pytest.fixture
def client(service) -> Iterator[TestClient]:
    with TestClient(make_app(service), HOME) as client:
        yield client
