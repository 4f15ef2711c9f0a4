"""The real llama-server, with the change and without: eight requests at once, each with an adapter of its own."""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import gguf_model
import gguf_pair
import llama
import made
import operator_table
import pair

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import bench

COUNT = 8
IDS = np.fromfile(pair.FOLDER / "eval-tuned.bin", dtype="<u2")[: 64 * COUNT].reshape(COUNT, 64)


class Server:
    def __init__(self, port):
        self.port = port

    def post(self, path, body):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)

    def ask(self, ids, adapter, predict=24, scale=1.0, cache=False):
        """The tokens that follow; adapter None: the base alone."""
        lora = [{"id": adapter, "scale": scale}] if adapter is not None else [{"id": 0, "scale": 0.0}]
        body = {"prompt": [int(i) for i in ids], "n_predict": predict, "temperature": 0, "top_k": 1, "lora": lora,
                "cache_prompt": cache, "return_tokens": True, "ignore_eos": True}
        answer = self.post("/completion", body)
        assert len(answer["tokens"]) == predict
        return answer["tokens"], answer

    def ask_all(self, prompts, adapters, **more):
        with ThreadPoolExecutor(len(prompts)) as pool:
            return [tokens for tokens, _ in pool.map(lambda at: self.ask(prompts[at], adapters[at], **more), range(len(prompts)))]


@contextmanager
def serving(which, model, adapters, *more):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [Path(os.environ["MANY"]) / f"server-{which}", "-m", model, "--port", port, "-c", 256 * COUNT, "-np", COUNT, "-t", 1, "-tb", 1,
             "-fa", "off", "-ctk", "f32", "-ctv", "f32", "--no-warmup", "--lora-init-without-apply", "--lora", ",".join(map(str, adapters)), *more]
    # It looks for ggml's backends where it runs.
    process = subprocess.Popen([*map(str, words)], cwd=llama.libraries(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, process.stderr.read()[-2000:]
                time.sleep(0.1)
        yield Server(port)
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def small(real, tmp_path_factory):
    """The real pair's base with words, and eight adapters of it."""
    folder = tmp_path_factory.mktemp("server")
    base = gguf_model.write(folder / "base.gguf", gguf_model.read(real.gguf("base")), real.config, vocabulary=True)
    adapters = []
    for at in range(COUNT):
        more = (["--include", "mlp"], ["--include", "self_attn"])[at % 2] if at > 3 else ()
        files = real.gguf("base"), real.gguf("tuned")
        adapters.append(gguf_pair.extract(*files, folder / f"{at}.gguf", 2 * at + 1, "--dtype", "f32", *more))
    return base, adapters


def test_eight_requests_at_once_get_what_each_gets_alone(small):
    base, adapters = small
    with serving("plain", base, adapters) as server:
        own = [server.ask(IDS[at], at)[0] for at in range(COUNT)]
        none = [server.ask(IDS[at], None)[0] for at in range(COUNT)]
    assert sum(a != b for a, b in zip(own, none)) >= COUNT // 2, "adapters change answers"
    with serving("changed", base, adapters) as server:
        assert [server.ask(IDS[at], at)[0] for at in range(COUNT)] == own
        assert server.ask_all(IDS, range(COUNT)) == own
        mixed = [at if at % 2 else None for at in range(COUNT)]
        assert server.ask_all(IDS, mixed) == [own[at] if at % 2 else none[at] for at in range(COUNT)]


def test_a_prompt_is_cached_by_adapter(small):
    base, adapters = small
    with serving("changed", base, adapters) as server:
        ids = IDS[0]
        alone = {at: server.ask(ids, at)[0] for at in (None, 1, 2)}
        for at in (1, 2, 1, None, 1, 1, None, 2):
            tokens, _ = server.ask(ids, at, cache=True)
            assert tokens == alone[at], at
        _, again = server.ask(ids, 2, cache=True)
        assert again["timings"]["cache_n"] > 0, "the same prompt with the same adapter is not computed again"


def test_adapters_change_under_load(small):
    """Rounds of requests, each with another adapter and scale in every slot, while others run."""
    base, adapters = small
    with serving("changed", base, adapters) as server:
        cases = [(at % COUNT, (at * 3 + at // COUNT) % COUNT, 0.5 + 0.25 * (at % 3)) for at in range(3 * COUNT)]
        alone = [server.ask(IDS[row], adapter, scale=scale, predict=8 + row)[0] for row, adapter, scale in cases]
        with ThreadPoolExecutor(COUNT) as pool:
            ask = lambda case: server.ask(IDS[case[0]], case[1], scale=case[2], predict=8 + case[0], cache=True)[0]
            assert list(pool.map(ask, cases)) == alone


def test_tokens_per_second(tmp_path):
    """Prints them; the changed server has to be faster."""
    model = operator_table.model()
    gguf_model.write(tmp_path / "f32.gguf", gguf_model.from_hf(made.state(model), model.config), model.config, vocabulary=True)
    base = llama.quantize(tmp_path / "f32.gguf", tmp_path / "base.gguf", "q8_0")
    shapes = bench.shapes(tmp_path / "f32.gguf")
    adapters = [bench.write_adapter(tmp_path / f"{at}.gguf", shapes, 16, at) for at in range(COUNT)]
    prompts, predict, speeds = IDS[:, :16] % 300, 32, {"plain": [], "changed": []}
    with serving("plain", base, adapters) as plain, serving("changed", base, adapters) as changed:
        for at in range(6):
            for name, server in (("plain", plain), ("changed", changed)):
                started = time.perf_counter()
                server.ask_all(prompts, range(COUNT), predict=predict)
                speeds[name].append(COUNT * predict / (time.perf_counter() - started))
    medians = {name: statistics.median(figures[1:]) for name, figures in speeds.items()}
    print(f"\ntokens per second, eight requests with eight adapters: unchanged {medians['plain']:.1f}, changed {medians['changed']:.1f}, "
          f"{medians['changed'] / medians['plain']:.2f} times")
    assert medians["changed"] > 1.5 * medians["plain"]
