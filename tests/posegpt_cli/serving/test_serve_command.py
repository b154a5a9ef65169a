"""The command: what it needs, what it says, and how it stops."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from posegpt_cli.commands import serve as command


def test_a_missing_extra_is_said_with_what_to_type(posegpt, monkeypatch):
    monkeypatch.setattr(command, "NEEDED", ("json", "a_package_that_is_not_there"))
    ran = posegpt("serve")
    assert ran.code == 1
    assert "a_package_that_is_not_there" in ran.err
    assert "pip install 'posegpt[serve]'" in ran.err


def test_help_loads_no_web_framework_and_no_torch():
    code = (
        "import sys; from posegpt_cli.app import main; main(['serve', '--help']); "
        "print('loaded:', *({'fastapi', 'uvicorn', 'starlette', 'motionmcp', 'torch'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1].strip() == "loaded:"
    for flag in ("--host", "--port", "--token", "--open", "--gpt"):
        assert flag in ran.stdout


def test_a_port_that_is_taken_is_said(posegpt):
    # Another program listens there.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = posegpt("serve", "--port", port)
    assert ran.code == 1
    assert f"port {port}" in ran.err
    assert "--port" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--port", "70000"), "--port"),
        (("--gpt", "nowhere"), "nowhere does not exist"),
        (("--host", "not a host"), "cannot listen"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_loaded(posegpt, words, said):
    ran = posegpt("serve", *words)
    assert ran.code != 0
    assert said in ran.err


class Running:
    """A server in a process of its own."""

    def __init__(self, *words):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "posegpt_cli", "serve", "--port", "0", *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.address = self.process.stdout.readline().strip()

    def ask(self, path, body=None, **headers):
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(
            f"{self.address.partition('?')[0]}{path}", data, {"content-type": "application/json", **headers}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def interrupt(self, signum):
        """Seconds until it ended, its exit code and what it said."""
        start = time.monotonic()
        self.process.send_signal(signum)
        _, said = self.process.communicate(timeout=20)
        return time.monotonic() - start, self.process.returncode, said


@pytest.mark.slow
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_it_within_two_seconds_and_says_what_is_broken_off(small_generator, signum, code):
    server = Running("--gpt", small_generator)
    long = {"segments": [{"actions": ["walk"], "frames": 1800}], "n": 16}
    failures = []

    def ask():
        try:
            server.ask("api/generate", long)
        except Exception as error:
            failures.append(error)

    # Somebody asks for a lot, and Ctrl-C comes while it is being made.
    asking = threading.Thread(target=ask)
    asking.start()
    while not server.ask("api/health")["running"]:
        time.sleep(0.02)
    seconds, returned, said = server.interrupt(signum)
    asking.join(5)
    assert seconds < 2
    assert returned == code
    assert "stopping: 1 running and 0 waiting requests are broken off" in said
    assert "Traceback" not in said
    assert len(failures) == 1


@pytest.mark.slow
def test_other_machines_get_in_with_the_token_that_is_printed(small_generator):
    server = Running("--gpt", small_generator, "--host", "0.0.0.0")
    token = server.address.partition("?token=")[2]
    assert len(token) > 20
    # By another name of this machine; the token is what counts.
    server.address = f"http://127.0.0.1:{server.address.partition('?')[0].rstrip('/').rpartition(':')[2]}/"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        server.ask("api/health")
    assert server.ask("api/health", authorization=f"Bearer {token}")["status"] == "ok"
    server.interrupt(signal.SIGINT)
