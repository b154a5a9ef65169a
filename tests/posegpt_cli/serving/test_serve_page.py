"""The page of `posegpt serve` in a real browser: it generates, plays, scrubs, writes and continues files."""

import base64
import io
import json
import time
import urllib.request

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageSequence

from data.formats.load import read_motion
from data.synthetic import make_motion
from posegpt_cli.output import save_motion
from posegpt_cli.serving.service import make_service
from posegpt_cli.serving.settings import Limits
from tests.data.rigging.box_man import box_man
from tests.posegpt_cli.serving.conftest import listen
from tests.posegpt_cli.test_output_page import browser, needs_chromium  # noqa: F401 - a fixture

pytestmark = [pytest.mark.slow, needs_chromium]
WIDTH, HEIGHT = 1000, 700


@pytest.fixture(scope="module")
def home():
    """A server with the bundled generator."""
    service = make_service(None, "cpu", Limits())
    with listen(service) as address:
        yield address
    service.stop()


@pytest.fixture
def page(browser, home):  # noqa: F811
    return Page(browser, home)


class Page:
    """The page in one tab."""

    def __init__(self, browser, home):  # noqa: F811
        self.browser = browser
        self.home = home
        self.size(WIDTH, HEIGHT)

    def size(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.browser._post("/window/rect", {"width": width, "height": height + 200})
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)

    def devtools(self, command, parameters):
        return self.browser._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, link=""):
        self.browser._post("/url", {"url": "about:blank"})
        self.browser.log()  # what earlier pages complained of
        self.browser._post("/url", {"url": f"{self.home}/{link}"})
        self.wait("ready === 'true'")
        self.wait("busy === 'false'")
        self.pause()

    def run(self, script):
        return self.browser.run(script)

    def wait(self, condition, seconds=40):
        self.browser.wait(
            f"const {{ {condition.split()[0]} }} = document.body.dataset; return {condition}", seconds
        )

    def data(self, name):
        return self.run(f"return document.body.dataset.{name}")

    def texts(self, selector):
        return self.run(
            f"return [...document.querySelectorAll('{selector}')].map((each) => each.textContent)"
        )

    def count(self):
        return int(self.data("motions"))

    def pause(self):
        self.run("if (document.body.dataset.playing === 'true') document.getElementById('play').click()")

    def click(self, name):
        self.run(f"document.getElementById('{name}').click()")

    def generate(self, act):
        """Do something that generates, and wait until it is done."""
        before = self.count()
        act()
        self.wait(f"motions > {before}")
        self.wait("busy === 'false'")
        self.pause()

    def type(self, prompt):
        self.run(f"document.getElementById('prompt').value = {json.dumps(prompt)}")
        self.generate(lambda: self.click("generate"))

    def scrub(self, frame):
        self.run(f"const s = document.getElementById('scrub'); s.value = {frame}; s.oninput()")

    def picture(self, frame):
        """What the view shows at a frame, (H, W, 3)."""
        self.scrub(frame)
        waits = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
        self.browser._post("/execute/async", {"script": waits, "args": []})
        with urllib.request.urlopen(f"{self.browser.base}/screenshot", timeout=60) as answer:
            png = base64.b64decode(json.load(answer)["value"])
        picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
        return picture[60 : HEIGHT - 110, 350:]

    def choose(self, *paths):
        """Choose files as a person does."""
        found = self.browser._post("/element", {"using": "css selector", "value": "#file"})
        [element] = found.values()
        self.browser._post(f"/element/{element}/value", {"text": "\n".join(map(str, paths))})

    def drag(self, selector, by):
        """Drag the middle of an element sideways."""
        found = f"document.querySelector({json.dumps(selector)})"
        box = self.run(f"return {found}.getBoundingClientRect().toJSON()")
        x, y = round(box["x"] + box["width"] / 2), round(box["y"] + box["height"] / 2)
        steps = [("mousePressed", 0), ("mouseMoved", by // 2), ("mouseMoved", by), ("mouseReleased", by)]
        for kind, moved in steps:
            mouse = {"type": kind, "x": x + moved, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
            self.devtools("Input.dispatchMouseEvent", mouse)

    def press(self, key):
        self.run(
            f"document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}}))"
        )

    def complaints(self):
        return [message for message in self.browser.log() if message["level"] in ("SEVERE", "WARNING")]


def differ(one, other):
    """Pixels that are not alike."""
    return int((np.abs(one - other).max(axis=-1) > 40).sum())


def test_it_loads_without_complaint_and_the_figure_moves(page):
    page.open()
    page.click("play")
    frame = page.data("frame")
    page.wait(f"frame !== '{frame}'")
    page.pause()
    assert page.complaints() == []
    assert int(page.data("firstFrame")) < 3000


def test_a_prompt_makes_a_moving_figure_and_scrubbing_changes_pixels(page):
    page.open()
    page.type("she walks for 2 seconds, then runs for 2 seconds")
    assert page.texts(".block span") == ["walk", "run"]
    assert page.data("frames") == "120"
    pictures = [page.picture(frame) for frame in (10, 70, 10)]
    # Other frames look different; the same frame looks the same.
    assert differ(pictures[0], pictures[1]) > 300
    assert differ(pictures[0], pictures[2]) < 60
    assert page.complaints() == []


def test_nonsense_is_refused_in_words(page):
    page.open()
    page.run("document.getElementById('prompt').value = 'qwertz 2s'")
    page.click("generate")
    page.browser.wait("return !document.getElementById('message').hidden")
    assert "qwertz" in page.texts("#message")[0]


def test_a_link_makes_the_same_motion_again(page):
    page.open("#walk:40,run:40&seed=7")
    # The page's own address, as the button copies it.
    first = page.picture(60)
    link = page.run("return location.hash")
    page.open(link)
    assert differ(first, page.picture(60)) < 60
    page.open("#walk:40,run:40&seed=8")
    assert differ(first, page.picture(60)) > 60


def test_every_download_opens(page, tmp_path):
    page.open("#walk:20")
    page.devtools("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    for format in ("npz", "bvh", "glb", "png", "gif", "mp4"):
        page.run(f"document.querySelector('[data-format={format}]').click()")
        path = tmp_path / f"walk.{format}"
        end = time.monotonic() + 90
        while not path.exists():
            assert time.monotonic() < end, (format, page.texts("#message"))
            time.sleep(0.1)
    assert read_motion(tmp_path / "walk.npz").n_frames == 20
    assert read_motion(tmp_path / "walk.bvh").n_frames == 20
    assert (tmp_path / "walk.glb").read_bytes()[:4] == b"glTF"
    assert Image.open(tmp_path / "walk.png").size[0] > 100
    assert len(list(ImageSequence.Iterator(Image.open(tmp_path / "walk.gif")))) > 5
    # A video that can be decoded to its end.
    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "walk.mp4"))
    assert frames == 20
    assert page.complaints() == []


def test_an_uploaded_bvh_is_continued_in_several_ways(page, tmp_path):
    save_motion(make_motion("walk", 45), tmp_path / "mine.bvh")
    page.open("#walk:20&n=2")
    page.generate(lambda: page.choose(tmp_path / "mine.bvh"))
    assert page.data("frames") == str(45 + 90)
    assert "mine" in page.texts("#past-name")[0]
    assert len(page.texts(".block.past")) == 1
    assert differ(page.picture(5), page.picture(120)) > 100
    page.generate(lambda: page.click("forget"))
    assert page.run("return document.getElementById('past').hidden")


def test_a_timeline_is_dragged(page):
    page.open("#walk:40,run:40")
    page.generate(lambda: page.drag(".block[data-segment='0'] .edge", 150))
    # The first block became longer, the second one kept its length.
    first, second = page.texts(".block small")
    assert float(first.removesuffix(" s")) > 1.6
    assert second == "1.3 s"
    # Dragged past the other one, it changes places with it.
    page.generate(lambda: page.drag(".block[data-segment='0'] span", 480))
    assert page.texts(".block span") == ["run", "walk"]


def test_a_character_of_ones_own_plays_the_motion(page, tmp_path):
    character = tmp_path / "box man.gltf"
    box_man().save(character)
    page.open("#walk:40")
    before = page.picture(20)
    page.choose(character)
    page.wait("character === 'box man.gltf'")
    page.pause()
    pictures = [page.picture(frame) for frame in (5, 30)]
    assert differ(before, pictures[1]) > 500
    assert differ(*pictures) > 100
    # What is generated next is played on it, too.
    page.generate(lambda: page.press("r"))
    assert page.data("character") == "box man.gltf"
    page.devtools("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.run("document.querySelector('[data-format=glb]').click()")
    path = tmp_path / "walk.glb"
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, page.texts("#message")
        time.sleep(0.1)
    assert path.stat().st_size < 400_000  # the box man, not our body
    page.click("undress")
    assert differ(before, page.picture(20)) < 100_000
    assert [message for message in page.complaints() if message["level"] == "SEVERE"] == []


def test_keys(page):
    page.open("#walk:40")
    page.press(" ")
    assert page.data("playing") == "true"
    page.press(" ")
    page.scrub(10)
    page.press("ArrowRight")
    assert page.data("frame") == "11"
    page.press("End")
    assert page.data("frame") == "39"
    page.generate(lambda: page.press("r"))
    assert "seed=" in page.run("return location.hash")
    theme = page.run("return document.documentElement.dataset.theme")
    page.press("t")
    assert page.run("return document.documentElement.dataset.theme") != theme
    page.press("t")


def test_two_tabs_at_once(page):
    page.open("#walk:300")
    first = page.run("return document.body.dataset.motions")
    handle = page.browser._get("/window")
    other = page.browser._post("/window/new", {"type": "tab"})["handle"]
    page.browser._post("/window", {"handle": other})
    page.open("#run:300")
    # Both ask before either is done.
    page.run("document.getElementById('generate').click()")
    page.browser._post("/window", {"handle": handle})
    page.run("document.getElementById('generate').click()")
    for each in (handle, other):
        page.browser._post("/window", {"handle": each})
        page.wait("motions === '2'")
        assert page.data("frames") == "300"
    assert first == "1"
    page.browser._delete("/window")
    page.browser._post("/window", {"handle": handle})


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_sticks_out_and_everything_can_be_reached(page, width):
    page.size(width, 844)
    page.open("#walk:20")
    assert page.run("return document.documentElement.scrollWidth") <= width
    # Each control, scrolled to, lies within the window and is large enough for a finger.
    for name in ("generate", "prompt", "play", "scrub", "count", "seed"):
        page.run(f"document.getElementById('{name}').scrollIntoView()")
        box = page.run(f"return document.getElementById('{name}').getBoundingClientRect().toJSON()")
        assert box["x"] >= 0 and box["x"] + box["width"] <= width, name
        assert box["width"] > 20, name
    shown = "[...document.querySelectorAll('button')].filter((button) => button.offsetParent)"
    heights = page.run(f"return {shown}.map((button) => button.offsetHeight)")
    assert min(heights) >= 30
