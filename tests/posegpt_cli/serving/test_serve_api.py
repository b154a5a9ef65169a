"""The HTTP API: what it gives is what the library gives, and what it refuses it says plainly."""

import base64
import json

import numpy as np
import pytest

from models.cleaning.clean import clean
from models.sampling.generate import forecast, sample, timeline
from models.sampling.settings import SamplingSettings, Segment

WALK = {"segments": [{"actions": ["walk"], "frames": 20}]}


def unpack(motion):
    """Trans (T, 3) and poses (T, J, 3) of an answer."""
    values = np.frombuffer(base64.b64decode(motion["data"]), "<f4").reshape(motion["frames"], -1)
    return values[:, :3], values[:, 3:].reshape(motion["frames"], -1, 3)


def assert_same(answers, motions):
    assert len(answers) == len(motions)
    for answer, motion in zip(answers, motions, strict=True):
        trans, poses = unpack(answer)
        np.testing.assert_allclose(trans, motion.trans, atol=1e-4)
        np.testing.assert_allclose(poses, motion.poses, atol=1e-3)


def events_of(client, path, body):
    """Names and contents of a stream of events."""
    events = []
    with client.stream("POST", path, json=body, headers={"accept": "text/event-stream"}) as answer:
        assert answer.status_code == 200
        kind = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line:
                events.append((kind, json.loads(line.removeprefix("data: "))))
    return events


def test_health_and_actions(client):
    assert client.get("/api/health").json() == {
        "status": "ok", "version": "0.1.0", "running": 0, "waiting": 0,
    }  # fmt: skip
    about = client.get("/api/actions").json()
    assert [action["name"] for action in about["actions"]] == ["walk", "run", "wave"]
    assert [style["name"] for style in about["styles"]] == ["elderly", "happy"]
    assert len(about["joints"]) == 24
    assert about["limits"]["frames"] == 1800


def test_an_action_is_what_the_library_samples(client, service):
    body = {**WALK, "n": 2, "seed": 5, "codes": {"temperature": 1.3}}
    answers = client.post("/api/generate", json=body).json()["motions"]
    settings = SamplingSettings(n=2, seed=5, temperature=1.3)
    assert_same(answers, clean(sample(service.generator, ["walk"], 20, settings)))
    assert [(a["seed"], a["labels"], a["fps"]) for a in answers] == [(5, ["walk"], 30.0), (6, ["walk"], 30.0)]


def test_a_timeline_is_what_the_library_makes(client, service):
    body = {"segments": [
        {"actions": ["walk"], "style": "happy", "frames": 20},
        {"actions": ["run"], "frames": 16},
        {"actions": ["wave"], "frames": 24},
    ], "seed": 2, "clean": False}  # fmt: skip
    [answer] = client.post("/api/generate", json=body).json()["motions"]
    segments = [Segment(("walk", "style:happy"), 20), Segment(("run",), 16), Segment(("wave",), 24)]
    assert_same([answer], timeline(service.generator, segments, SamplingSettings(seed=2)))


def test_futures_go_on_from_a_motion_that_was_made_before(client, service):
    [past] = client.post("/api/generate", json=WALK).json()["motions"]
    body = {"past": past["id"], "until": 16, "actions": ["wave"], "frames": 12, "n": 2, "clean": False}
    answers = client.post("/api/forecast", json=body).json()["motions"]
    # The same past, cut where the request cut it.
    held = service.held.get(past["id"]).motion.crop(0, 16)
    assert_same(answers, forecast(service.generator, held, ["wave"], 12, SamplingSettings(n=2)))
    assert [answer["past_frames"] for answer in answers] == [16, 16]


def test_events_say_how_far_it_is_and_end_with_the_motion(client):
    events = events_of(client, "/api/generate", {"segments": [{"actions": ["walk"], "frames": 60}]})
    kinds = [kind for kind, _ in events]
    assert "progress" in kinds
    assert kinds[-1] == "done"
    # Progress never goes back.
    done = [content["done"] for kind, content in events if kind == "progress"]
    assert done == sorted(done)
    assert events[-1][1]["motions"][0]["frames"] == 60


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"segments": [{"actions": ["wlak"]}]}, 400, "did you mean 'walk'?"),
        ({"segments": []}, 422, "segments"),
        ({"segments": [{"actions": ["walk"], "frames": 0}]}, 422, "frames"),
        ({"segments": [{"actions": ["walk"], "frames": 1801}]}, 422, "frames"),
        ({"segments": [{"actions": ["walk"], "frames": 1000}] * 2}, 400, "2000 frames in all"),
        ({**WALK, "n": 17}, 422, "n"),
        ({**WALK, "seed": -1}, 422, "seed"),
        ({**WALK, "codes": {"temperature": 0}}, 422, "temperature"),
        ({**WALK, "codes": {"guidance": 1e300}}, 422, "guidance must be at most 100"),
        ({**WALK, "codes": {"gpt": "/etc/passwd"}}, 422, "unknown setting 'gpt'"),
        ({**WALK, "more": 1}, 422, "more"),
    ],
)
def test_what_cannot_be_generated_is_refused(client, body, status, said):
    answer = client.post("/api/generate", json=body)
    assert answer.status_code == status
    assert said in " ".join(answer.json().values())


def test_what_is_not_held_is_not_found(client):
    assert client.get("/api/motions/nothing").status_code == 404
    assert client.post("/api/forecast", json={"past": "nothing"}).status_code == 404
    body = {"motions": ["nothing"], "format": "bvh"}
    assert client.post("/api/render", json=body).json()["hint"] == "generate it again"


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("walk 2s, run 30", [("walk", None, 60), ("run", None, 30)]),
        ("wave/happy 1s", [("wave", "happy", 30)]),
        ("wave", [("wave", None, None)]),
    ],
)
def test_prompts_become_segments(client, text, segments):
    answer = client.post("/api/prompt", json={"text": text}).json()
    assert [(s["actions"][0], s["style"], s["frames"]) for s in answer["segments"]] == segments


def test_prompts_that_mean_nothing_are_refused(client):
    answer = client.post("/api/prompt", json={"text": "fly to the moon 2s"})
    assert answer.status_code == 400
    assert "fly to the moon" in answer.json()["message"]


def test_openapi_describes_every_endpoint(client):
    schema = client.get("/openapi.json").json()
    paths = {"/api/health", "/api/actions", "/api/body", "/api/prompt", "/api/generate", "/api/forecast",
             "/api/uploads", "/api/motions/{motion_id}", "/api/render"}  # fmt: skip
    assert paths <= set(schema["paths"])
    assert "text/event-stream" in schema["paths"]["/api/generate"]["post"]["responses"]["200"]["content"]
    for path, methods in schema["paths"].items():
        for method in methods.values():
            assert method["description"], path


def test_the_page_and_its_parts(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    # Nothing from elsewhere, nothing inline: the content policy forbids both.
    assert "http" not in page.text.replace("http-equiv", "")
    assert "<style" not in page.text and " style=" not in page.text and "onclick" not in page.text
    for name in ("main.js", "style.css", "three.min.js", "stage.js", "icon.svg"):
        part = client.get(f"/page/{name}")
        assert part.status_code == 200
        assert client.get(f"/page/{name}", headers={"if-none-match": part.headers["etag"]}).status_code == 304
    for name in ("nothing.js", "..%2Fapp.py", "%2e%2e/app.py", "page.html"):
        assert client.get(f"/page/{name}").status_code == 404
