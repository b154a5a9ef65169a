"""The load that `posegpt serve` carries: many clients at once beside one at a time.

Starts the server, warms it up, and lets each client ask for 64 frames again and again. The plain way is the
same requests by one client. Also how soon the first frame of a streamed motion is there, with nobody else
asking, and how the server's memory grew.

    python -m benchmarks.serving [--clients 50] [--seconds 60]
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx

from benchmarks.table import Row, add_options, finish

FRAMES = 64
FIRST_FRAME_MS = 700.0
"""From the request to the first frame of a stream."""
MEMORY_GROWTH_MB = 300.0
"""What many clients may add to a server that has answered a few."""


@dataclass
class Answers:
    """What clients got."""

    seconds: list[float] = field(default_factory=list)
    """How long each waited."""
    failures: int = 0
    took: float = 0.0
    """Seconds from the first request to the last answer."""

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.took

    def within(self, share: float) -> float:
        """Seconds within which that share was answered."""
        return sorted(self.seconds)[round(share * (len(self.seconds) - 1))]


def body(seed: int) -> dict[str, object]:
    return {"segments": [{"actions": ["walk"], "frames": FRAMES}], "seed": seed}


async def ask_for(client: httpx.AsyncClient, answers: Answers, end: float, first_seed: int) -> None:
    """One client: ask, wait for the answer, ask again."""
    seed = first_seed
    while time.perf_counter() < end:
        start = time.perf_counter()
        answer = await client.post("/api/generate", json=body(seed))
        if answer.status_code == 200 and answer.json()["motions"][0]["frames"] == FRAMES:
            answers.seconds.append(time.perf_counter() - start)
        else:
            answers.failures += 1
        seed += 1


async def measure(address: str, n_clients: int, seconds: float) -> Answers:
    """All clients at once for so long."""
    answers = Answers()
    limits = httpx.Limits(max_connections=n_clients)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as client:
        start = time.perf_counter()
        end = start + seconds
        await asyncio.gather(*(ask_for(client, answers, end, 10_000 * k) for k in range(n_clients)))
        answers.took = time.perf_counter() - start
    return answers


async def first_frames(address: str, times: int) -> list[float]:
    """Milliseconds to the first frame of streamed motions, one after the other."""
    waits: list[float] = []
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        for seed in range(times):
            start = time.perf_counter()
            accept = {"accept": "text/event-stream"}
            async with client.stream("POST", "/api/generate", json=body(seed), headers=accept) as answer:
                waited = None
                async for line in answer.aiter_lines():
                    if waited is None and line == "event: frames":
                        waited = 1000 * (time.perf_counter() - start)
            if waited is None:
                raise AssertionError("a stream without frames")
            waits.append(waited)
    return waits


async def cancelled_frees_its_place(address: str) -> bool:
    """Whether a long request whose client has gone is given up."""
    long = {"segments": [{"actions": ["walk"], "frames": 1800}], "n": 16}
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        with suppress(TimeoutError):
            await asyncio.wait_for(client.post("/api/generate", json=long), 0.5)
        for _ in range(100):
            health = (await client.get("/api/health")).json()
            if health["running"] + health["waiting"] == 0:
                return True
            await asyncio.sleep(0.05)
    return False


@asynccontextmanager
async def server() -> AsyncIterator[tuple[str, int]]:
    """Address and process of a server with the bundled generator."""
    command = [sys.executable, "-m", "posegpt_cli", "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip().rstrip("/")
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(10)


def resident_mb(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


async def run(n_clients: int, seconds: float) -> list[Row]:
    async with server() as (address, process):
        await measure(address, 4, 3.0)  # warm
        first = await first_frames(address, 20)
        alone = await measure(address, 1, max(5.0, seconds / 4))
        before = resident_mb(process)
        many = await measure(address, n_clients, seconds)
        growth = resident_mb(process) - before
        is_freed = await cancelled_frees_its_place(address)
    described = {
        "first frame, median ms": median(first),
        "alone, p50 s": alone.within(0.5),
        "many, p50 s": many.within(0.5),
        "many, p95 s": many.within(0.95),
        "failures": many.failures + alone.failures,
        "memory MB": before,
    }
    print(json.dumps(described))
    if many.failures or alone.failures or not is_freed:
        raise AssertionError(f"{many.failures} requests failed; a cancelled one frees its place: {is_freed}")
    what = f"serving: {n_clients} clients, {FRAMES} frames"
    return [
        Row(f"{what}, beside one at a time", "motions/s", many.rate, alone.rate, 1.5),
        Row(f"{what}, 95 % within", "s", many.within(0.95), bound=n_clients / alone.rate),
        Row(f"{what}, growth of memory", "MB", growth, bound=MEMORY_GROWTH_MB),
        Row("serving: first frame of a stream, 95 % within", "ms", sorted(first)[18], bound=FIRST_FRAME_MS),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    return finish(asyncio.run(run(arguments.clients, arguments.seconds)), arguments)


if __name__ == "__main__":
    sys.exit(main())
