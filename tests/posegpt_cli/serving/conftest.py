"""A running service on a small generator, and a client that talks to it without a network."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
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


@pytest.fixture(scope="session")
def address(service) -> Iterator[str]:
    """Where a real server listens."""
    with listen(service) as address:
        yield address


@contextmanager
def listen(service: Service) -> Iterator[str]:
    """A server in a thread; gives its address."""
    config = uvicorn.Config(make_app(service), log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(5)
