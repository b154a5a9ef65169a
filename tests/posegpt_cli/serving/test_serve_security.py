"""Who may ask, how much, and what answers give away."""

import asyncio
import re

import pytest
from starlette.testclient import TestClient

from posegpt_cli.serving.app import make_app
from posegpt_cli.serving.security import CONTENT_POLICY, Guard
from posegpt_cli.serving.settings import Limits, ServerSettings
from tests.posegpt_cli.serving.conftest import HOME

WALK = {"segments": [{"actions": ["walk"], "frames": 8}]}


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "[::1]:8765", "localhost"])
def test_our_own_names_are_answered(client, host):
    assert client.get("/api/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "192.168.0.7:8765"])
def test_a_foreign_name_that_points_here_is_not_answered(client, host):
    """DNS rebinding: the page of evil.example makes its name point to 127.0.0.1."""
    assert client.get("/api/health", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9"])
def test_other_pages_may_not_ask(client, origin):
    answer = client.post("/api/generate", json=WALK, headers={"origin": origin})
    assert answer.status_code == 403
    assert client.post("/api/generate", json=WALK, headers={"origin": HOME}).status_code == 200
    crossing = client.post("/api/generate", json=WALK, headers={"sec-fetch-site": "cross-site"})
    assert crossing.status_code == 403


def test_every_answer_says_what_the_browser_may_do(client):
    for path in ("/", "/api/health", "/nothing", "/mmcp/capabilities"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == CONTENT_POLICY
        assert headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in CONTENT_POLICY
    assert "http" not in CONTENT_POLICY


@pytest.fixture
def guarded(service):
    with TestClient(make_app(service, "secret"), "http://192.168.0.7:8765") as client:
        yield client


def test_other_machines_need_the_token(guarded):
    assert guarded.get("/api/health").status_code == 401
    assert guarded.get("/").status_code == 401
    assert guarded.get("/api/health?token=secret").status_code == 401
    # Nearly right is wrong, and letters that are no ASCII must not break the comparison.
    for wrong in ("Bearer wrong", "Basic secret", "Bearer", "Bearer sécret"):
        assert (
            guarded.get("/api/health", headers={"authorization": wrong.encode("latin-1")}).status_code == 401
        )
    assert guarded.get("/api/health", headers={"authorization": "Bearer secret"}).status_code == 200
    capabilities = guarded.get("/mmcp/capabilities", headers={"authorization": "Bearer secret"})
    assert capabilities.status_code == 200


def test_the_token_moves_from_the_address_into_a_cookie(guarded):
    answer = guarded.get("/?token=secret", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert re.search("HttpOnly; SameSite=Strict", answer.headers["set-cookie"])
    assert guarded.get("/").status_code == 200
    assert guarded.get("/api/health").status_code == 200


def test_only_loopback_is_for_this_machine_alone():
    assert ServerSettings().is_loopback
    assert not ServerSettings(host="0.0.0.0").is_loopback
    assert not ServerSettings(host="192.168.0.7").is_loopback


def test_large_bodies_are_refused(client, service):
    large = b" " * (service.limits.body_bytes + 1)
    answer = client.post("/api/generate", content=large, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    # Without its length said before, too.
    chunks = (b" " * 100_000 for _ in range(20))
    answer = client.post("/api/generate", content=chunks, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert "1 MB" in answer.json()["message"]


def test_bodies_that_never_arrive_are_given_up():
    # An application that waits for the whole body, and a client that drips one byte at a time.
    async def app(scope, receive, send):
        while (await receive())["more_body"]:
            pass

    async def receive():
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "path": "/", "method": "POST", "query_string": b"", "headers": headers}
    guard = Guard(app, None, Limits(body_seconds=0.1))
    asyncio.run(asyncio.wait_for(guard(scope, receive, send), 5))
    assert sent[0]["status"] == 408


def test_no_answer_names_a_path_of_the_server(client, small_generator):
    # Right and wrong requests of every kind.
    [motion] = client.post("/api/generate", json=WALK).json()["motions"]
    answers = [
        client.post("/api/uploads"),
        client.post("/api/render", json={"motions": [motion["id"], "nothing"], "format": "bvh"}),
        client.get("/api/actions"),
        client.get("/openapi.json"),
        client.get("/nothing"),
    ]
    for answer in answers:
        assert answer.status_code < 500
        for path in ("/tmp", "posegpt-upload", "/home", "/root", str(small_generator), "site-packages"):
            assert path not in answer.text
