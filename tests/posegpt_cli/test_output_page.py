"""The .html page is self-contained; in a real browser the figure moves, stops and can be scrubbed."""

import base64
import io
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.rigs.gltf_read import read_gltf
from data.rigs.meshes import read_mesh
from data.synthetic import make_motion
from posegpt_cli.output import RenderOptions, save_motion

CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
CHARACTERS = Path(__file__).parents[1] / "data" / "characters"
DRIVER = shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Chromium: apt-get install chromium chromium-driver"
)


class Browser:
    """Headless Chromium by the WebDriver protocol, which is JSON over HTTP."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        flags = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=500,400"]
        flags += [
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ]
        wanted = {
            "goog:chromeOptions": {"binary": CHROMIUM, "args": flags},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        answer = self._post("/session", {"capabilities": {"alwaysMatch": wanted}})
        self.base += f"/session/{answer['sessionId']}"

    def open(self, path: Path) -> None:
        self._post("/url", {"url": path.as_uri()})
        self.wait("return document.body.dataset.ready === 'true'")

    def run(self, script: str) -> Any:
        return self._post("/execute/sync", {"script": script, "args": []})

    def wait(self, script: str, seconds: float = 40) -> None:
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, (script, self.log())
            time.sleep(0.1)

    def picture(self) -> np.ndarray:
        """The part of the window above the controls, (H, W, 3)."""
        with urllib.request.urlopen(f"{self.base}/screenshot", timeout=60) as answer:
            png = base64.b64decode(json.load(answer)["value"])
        picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
        return picture[: len(picture) - 70]

    def settled(self) -> np.ndarray:
        """A picture after what is asked for has been drawn."""
        self._post(
            "/execute/async",
            {"script": "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))", "args": []},
        )
        return self.picture()

    def log(self) -> list[dict[str, Any]]:
        """Messages of the console since the last call."""
        return self._post("/se/log", {"type": "browser"})

    def quit(self) -> None:
        self._delete("")

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.base + path, timeout=90) as answer:
            return json.load(answer)["value"]

    def _delete(self, path: str) -> None:
        request = urllib.request.Request(self.base + path, method="DELETE")
        urllib.request.urlopen(request, timeout=30).close()

    def _post(self, path: str, content: Any) -> Any:
        request = urllib.request.Request(
            self.base + path, json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=90) as answer:
            return json.load(answer)["value"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert DRIVER is not None
    driver = subprocess.Popen(
        [DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        opened = Browser(port)
        yield opened
        opened.quit()
    finally:
        driver.terminate()
        driver.wait(timeout=20)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "walk.html"
    save_motion(make_motion("walk", 60), path)
    return path


def test_the_page_asks_for_nothing_from_elsewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    own = text.partition("<script>")[0]  # what follows is three.js and the viewer
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", text)
    assert "http" not in own.replace("https://threejs.org", "")
    assert "The MIT License" in text and "three.js authors" in text
    glb = base64.b64decode(re.search(r'id="motion">([^<]+)<', text)[1])  # type: ignore[index]
    assert glb[:4] == b"glTF" and text.count("</script>") == 5


def test_titles_cannot_break_the_page(tmp_path: Path) -> None:
    path = tmp_path / "odd.html"
    options = RenderOptions(titles=("</script><b>&{{viewer}}",))
    save_motion(make_motion("walk", 1), path, options)
    text = path.read_text(encoding="utf-8")
    assert text.count("</script>") == 5 and "<b>" not in text
    settings = json.loads(re.search(r'id="settings">(.*?)</script>', text)[1])  # type: ignore[index]
    assert settings["title"] == "</script><b>&{{viewer}}" and settings["frames"] == 1


@pytest.mark.slow
@needs_chromium
def test_the_figure_moves_stops_and_is_scrubbed(browser: Browser, page: Path) -> None:
    browser.open(page)
    first = browser.picture()
    frame = browser.run("return Number(document.body.dataset.frame)")
    # One frame moves few pixels, as the camera follows; a slow machine may show the next one only.
    browser.wait(f"return Math.abs(Number(document.body.dataset.frame) - {frame}) >= 8")
    moved = browser.settled()
    assert (np.abs(moved - first).max(axis=-1) > 40).sum() > 150
    browser.run("document.getElementById('play').click()")
    still = browser.settled()
    time.sleep(0.5)
    assert np.array_equal(still, browser.settled())
    assert browser.run("return document.getElementById('play').textContent") == "Play"
    pictures = []
    for k in (5, 25, 5):
        browser.run(f"const s = document.getElementById('scrub'); s.value = {k}; s.oninput()")
        pictures.append(browser.settled())
        assert browser.run("return document.body.dataset.frame") == str(k)
    assert (np.abs(pictures[1] - pictures[0]).max(axis=-1) > 40).sum() > 150
    assert (np.abs(pictures[2] - pictures[0]).max(axis=-1) > 40).sum() < 60
    assert [m for m in browser.log() if m["level"] in ("SEVERE", "WARNING")] == []


@pytest.mark.slow
@needs_chromium
def test_dragging_turns_the_camera(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.getElementById('play').click()")
    before = browser.settled()
    pointer = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}}
    steps = [
        {"type": "pointerMove", "x": 250, "y": 150, "duration": 0},
        {"type": "pointerDown", "button": 0},
        {"type": "pointerMove", "x": 350, "y": 170, "duration": 200},
        {"type": "pointerUp", "button": 0},
    ]
    browser._post("/actions", {"actions": [{**pointer, "actions": steps}]})
    time.sleep(1.0)
    assert (np.abs(browser.settled() - before).max(axis=-1) > 40).sum() > 300


@pytest.mark.slow
@needs_chromium
def test_past_and_future_have_their_colours(browser: Browser, tmp_path: Path) -> None:
    save_motion(make_motion("walk", 20), tmp_path / "two.html", RenderOptions(past_frames=10))
    browser.open(tmp_path / "two.html")
    colourful = []
    for k in (9, 10):
        browser.run(f"const s = document.getElementById('scrub'); s.value = {k}; s.oninput()")
        colourful.append((np.ptp(browser.settled(), axis=-1) > 60).sum())
    assert colourful[0] < 0.1 * colourful[1]
    assert [m for m in browser.log() if m["level"] in ("SEVERE", "WARNING")] == []


def settings_of(page: Path) -> dict[str, Any]:
    found = re.search(r'id="settings">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found is not None
    return json.loads(found[1])


def test_each_character_is_placed_on_our_floor(tmp_path: Path) -> None:
    """What viewer.js does with the placement: the file's rest pose stands on the floor, side by side."""
    rig = CHARACTERS / "kenney.glb"
    motions = [make_motion("walk", 6, seed=k) for k in range(2)]
    save_motion(motions, tmp_path / "two.html", RenderOptions(rig=str(rig)))
    actors = settings_of(tmp_path / "two.html")["actors"]
    assert [actor["animation"] for actor in actors] == [0, 1]
    mesh = read_mesh(read_gltf(rig))
    assert mesh is not None
    rest = np.column_stack((mesh.vertices, np.ones(mesh.n_vertices)))
    places = [rest @ np.reshape(actor["placement"], (4, 4)) for actor in actors]
    for place in places:
        assert abs(place[:, 1].min()) < 0.02
    assert np.linalg.norm(places[1].mean(axis=0) - places[0].mean(axis=0)) > 0.5


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("name", ["human-male", "kenney", "human-skeleton"])
def test_the_page_plays_a_character(browser: Browser, tmp_path: Path, name: str) -> None:
    rig = str(CHARACTERS / f"{name}.glb")
    saved = save_motion(make_motion("walk", 30), tmp_path / "walk.html", RenderOptions(rig=rig, floor="none"))
    assert ("no mesh" in saved.warning) == (name == "human-skeleton")
    browser.open(tmp_path / "walk.html")
    pictures = []
    for k in (4, 24, 4):
        browser.run(f"const s = document.getElementById('scrub'); s.value = {k}; s.oninput()")
        pictures.append(browser.settled())
    # Somebody in colour stands there, whom the scrubber moves.
    assert (np.ptp(pictures[0], axis=-1) > 40).sum() > 300
    assert (np.abs(pictures[1] - pictures[0]).max(axis=-1) > 40).sum() > 100
    assert (np.abs(pictures[2] - pictures[0]).max(axis=-1) > 40).sum() < 60
    assert [m for m in browser.log() if m["level"] in ("SEVERE", "WARNING")] == []


@pytest.mark.slow
@needs_chromium
def test_several_characters_and_their_past(browser: Browser, tmp_path: Path) -> None:
    motions = [make_motion("walk", 20), make_motion("run", 12)]
    options = RenderOptions(rig=str(CHARACTERS / "kenney.glb"), past_frames=10, floor="none")
    save_motion(motions, tmp_path / "two.html", options)
    browser.open(tmp_path / "two.html")
    colourful, wide = [], []
    for k in (9, 10, 19, 9):
        browser.run(f"const s = document.getElementById('scrub'); s.value = {k}; s.oninput()")
        picture = browser.settled()
        colourful.append((np.ptp(picture, axis=-1) > 60).sum())
        ink = np.flatnonzero((np.abs(picture - picture[60, 5]).max(axis=-1) > 40)[40:].any(axis=0))
        wide.append(int(np.ptp(ink)))
    # Grey in the past, with its textures afterwards, and grey again; two of them beside each other.
    assert colourful[0] == colourful[3] < 0.05 * min(colourful[1:3])
    assert min(wide) > 120
    assert [m for m in browser.log() if m["level"] in ("SEVERE", "WARNING")] == []
