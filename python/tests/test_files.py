"""The functions over paths, with the real pair: the bytes and the figures are the command's."""

import filecmp
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import phlora

PAIR = Path(__file__).resolve().parents[2] / "tests" / "data" / "tiny-llama"
BASE, TUNED = PAIR / "base", PAIR / "tuned"


def command(*arguments):
    """Runs the command of the wheel."""
    line = [sys.executable, "-m", "phlora", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True)


def same(one, other):
    compared = filecmp.dircmp(one, other)
    assert not compared.left_only and not compared.right_only
    _, differ, odd = filecmp.cmpfiles(one, other, compared.common_files, shallow=False)
    assert not differ and not odd


def test_extract_writes_the_bytes_of_the_command(tmp_path):
    seen = []
    report = phlora.extract(BASE, TUNED, tmp_path / "module", rank=16, progress=lambda *at: seen.append(at))
    done = command("extract", BASE, TUNED, "-o", tmp_path / "command", "--rank", 16)
    assert done.returncode == 0, done.stderr
    same(tmp_path / "module", tmp_path / "command")
    assert report["total"]["energy"] == pytest.approx(0.613, abs=5e-4)
    assert len(report["modules"]) == 28
    assert seen[-1][0] == seen[-1][1] > 0


@pytest.mark.parametrize(
    "options, flags",
    [
        ({"energy": 0.5, "multiple": 4}, ["--energy", "0.5", "--multiple", "4"]),
        ({"budget": 400_000}, ["--budget", "400000"]),
        ({"total_energy": 0.4, "by": "energy"}, ["--total-energy", "0.4", "--by", "energy"]),
        ({"noise_floor": True, "also": ["norms"]}, ["--noise-floor", "--also", "norms"]),
        ({"rank": 8, "server": "vllm", "exclude": "down_proj"}, ["--rank", "8", "--for", "vllm", "--exclude", "down_proj"]),
    ],
)
def test_options_are_those_of_the_command(tmp_path, options, flags):
    phlora.extract(BASE, TUNED, tmp_path / "module", **options)
    done = command("extract", BASE, TUNED, "-o", tmp_path / "command", *flags)
    assert done.returncode == 0, done.stderr
    same(tmp_path / "module", tmp_path / "command")


def test_every_job_works_on_paths(tmp_path):
    written = phlora.extract_ranks(BASE, TUNED, tmp_path / "ranks", [4, 8])
    assert [Path(path).name for path in written] == ["ranks-r4", "ranks-r8"]
    adapter = tmp_path / "ranks-r8"
    verified = phlora.verify(BASE, TUNED, adapter)
    assert verified["energy"] == pytest.approx(written[str(adapter)]["total"]["energy"], abs=1e-3)
    planned = phlora.plan(BASE, TUNED, max_rank=8)
    assert planned["total"]["energy"] == pytest.approx(verified["energy"], abs=1e-3)
    pruned = phlora.prune(adapter, tmp_path / "pruned", rank=2)
    assert {module["rank"] for module in pruned["modules"]} == {2}
    converted = phlora.convert(adapter, tmp_path / "adapter.gguf", base=BASE)
    assert converted["modules"] == 28 and (tmp_path / "adapter.gguf").stat().st_size == converted["bytes"]
    assert phlora.check(adapter, BASE) == []
    merged = phlora.merge(BASE, [(adapter, 0.5), tmp_path / "pruned"], tmp_path / "merged")
    assert merged["weights"] == 28 and (tmp_path / "merged" / "model.safetensors").is_file()


def with_nan(model, to):
    """A copy of `model` whose first projection has a value that is no number."""
    shutil.copytree(model, to)
    file = to / "model.safetensors"
    data = bytearray(file.read_bytes())
    length = int.from_bytes(data[:8], "little")
    start = json.loads(data[8 : 8 + length])["model.layers.0.self_attn.q_proj.weight"]["data_offsets"][0]
    data[8 + length + start : 8 + length + start + 2] = b"\xff\x7f"
    file.write_bytes(data)
    return to


def test_several_fine_tunes_have_the_bytes_of_one(tmp_path):
    merged = tmp_path / "merged"
    phlora.extract(BASE, TUNED, tmp_path / "one", rank=4)
    phlora.merge(BASE, [tmp_path / "one"], merged)
    several = {tmp_path / "chat": TUNED, tmp_path / "code": merged}
    written = phlora.extract_several(BASE, several, rank=4, report=tmp_path / "r.json")
    assert list(written) == [str(tmp_path / "chat"), str(tmp_path / "code")]
    weights = "adapter_model.safetensors"
    assert (tmp_path / "chat" / weights).read_bytes() == (tmp_path / "one" / weights).read_bytes()
    alone = phlora.extract(BASE, merged, tmp_path / "alone", rank=4)
    assert (tmp_path / "code" / weights).read_bytes() == (tmp_path / "alone" / weights).read_bytes()
    assert written[str(tmp_path / "code")]["total"] == alone["total"]
    assert json.loads((tmp_path / "r-code.json").read_text())["total"] == alone["total"]
    with pytest.raises(TypeError, match="extract_several has no option ranks"):
        phlora.extract_several(BASE, several, ranks=[4])
    with pytest.raises(phlora.Error, match="at least one"):
        phlora.extract_several(BASE, {})


def test_a_fine_tune_that_fails_does_not_stop_the_others(tmp_path):
    broken = with_nan(TUNED, tmp_path / "broken")
    several = {tmp_path / "a": broken, tmp_path / "b": TUNED}
    with pytest.raises(phlora.Error, match="q_proj") as raised:
        phlora.extract_several(BASE, several, rank=2)
    assert list(raised.value.failed) == [str(broken)]
    assert list(raised.value.written) == [str(tmp_path / "b")] and not (tmp_path / "a").exists()


def test_errors_have_the_text_of_the_library(tmp_path):
    with pytest.raises(phlora.Error, match="missing"):
        phlora.extract(tmp_path / "missing", TUNED, tmp_path / "adapter")
    with pytest.raises(phlora.NothingToExtract, match="nothing to extract"):
        phlora.extract(BASE, BASE, tmp_path / "adapter")
    phlora.extract(BASE, TUNED, tmp_path / "adapter", rank=1)
    with pytest.raises(phlora.OutputExists, match="adapter"):
        phlora.extract(BASE, TUNED, tmp_path / "adapter", rank=1)
    phlora.extract(BASE, TUNED, tmp_path / "adapter", rank=2, force=True)
    with pytest.raises(ValueError, match="none of peft, vllm"):
        phlora.extract(BASE, TUNED, tmp_path / "other", server="unknown")
    with pytest.raises(ValueError, match="give one of"):
        phlora.extract(BASE, TUNED, tmp_path / "other", rank=4, energy=0.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter"]


def test_an_exception_in_progress_cancels(tmp_path):
    def stop(done, total):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        phlora.extract(BASE, TUNED, tmp_path / "adapter", rank=64, mode="exact", threads=1, progress=stop)


def test_ctrl_c_cancels_and_leaves_nothing(tmp_path):
    program = f"""
import _thread, threading, phlora
try:
    phlora.extract({str(BASE)!r}, {str(TUNED)!r}, {str(tmp_path / "adapter")!r}, rank=64, mode="exact", threads=1,
                   progress=lambda done, total: _thread.interrupt_main())
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout == "interrupted\n", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_other_threads_run_meanwhile(tmp_path):
    ticks, ended = [], threading.Event()

    def tick():
        while not ended.wait(0.001):
            ticks.append(1)

    other = threading.Thread(target=tick)
    other.start()
    phlora.plan(BASE, TUNED, threads=1)
    ended.set()
    other.join()
    assert len(ticks) > 10


def test_the_command_has_exit_codes_and_reports(tmp_path):
    assert command("--version").stdout.split() == ["phlora", phlora.__version__]
    assert command("extract", BASE, BASE, "-o", tmp_path / "none").returncode == 1
    wrong = command("extract", tmp_path / "missing", TUNED, "-o", tmp_path / "none")
    assert wrong.returncode == 2 and "missing" in wrong.stderr
    done = command("extract", BASE, TUNED, "-o", tmp_path / "a", "--rank", 2, "--report", tmp_path / "r.json")
    assert done.returncode == 0 and json.loads((tmp_path / "r.json").read_text())["version"] == 1
