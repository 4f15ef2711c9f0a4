#!/usr/bin/env python3
"""What an extraction in shares takes: bytes, core-seconds and wall time, from the shapes of real models and measured rates.

    simulate.py                                    the tables of docs/scale.md
    simulate.py --model 405B --workers 64 --cores 8 --bandwidth 2 --storage 40
    simulate.py --config config.json               another model of the llama or deepseek_v3 (kimi_k2) families
    simulate.py --check PHLORA BASE TUNED          compares the division with that of the command, on a pair of models

It replays the division of `extract --shard`: the largest tensor first, each to the share with the fewest bytes so far. A worker takes as long as
the slower of its arithmetic (its weights times a rate of BENCHMARKS.md) and its reading (once; each worker also looks at the ends of
all files). What it does not know: memory below a module per thread, where modules are read again and again; the queue of a cluster;
machines that differ.
"""

import argparse
import heapq
import json
import pathlib
import struct
import subprocess
import tempfile

# Core-nanoseconds per weight at rank 32, bf16, AVX-512, by columns: 2 x 1.85 of a whole model 2048 wide, and 2 x 2.5 of one matrix of
# 4096 x 14336, the slowest of BENCHMARKS.md. Wider ones are taken to be as that.
NARROW, WIDE = 3.7, 5.0
RANK = 32
# What a worker looks at in each file of both models: both ends and samples.
OPENING = 2 * ((2 << 20) + 64 * 4096)
FILE = 4.7e9

LLAMA = {"model_type": "llama", "vocab_size": 128256, "num_key_value_heads": 8}
MODELS = {
    "8B": {**LLAMA, "hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336, "num_attention_heads": 32},
    "70B": {**LLAMA, "hidden_size": 8192, "num_hidden_layers": 80, "intermediate_size": 28672, "num_attention_heads": 64},
    "405B": {**LLAMA, "hidden_size": 16384, "num_hidden_layers": 126, "intermediate_size": 53248, "num_attention_heads": 128},
    "1T": {
        "model_type": "kimi_k2", "vocab_size": 163840, "hidden_size": 7168, "num_hidden_layers": 61, "intermediate_size": 18432,
        "num_attention_heads": 64, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
        "v_head_dim": 128, "n_routed_experts": 384, "n_shared_experts": 1, "moe_intermediate_size": 2048, "first_k_dense_replace": 1,
    },
}  # fmt: skip


def modules(config):
    """Shapes of the linear modules of a model, and of the two tables of its vocabulary, which are only measured."""
    c = {"num_key_value_heads": config["num_attention_heads"], **config}
    hidden, heads = c["hidden_size"], c["num_attention_heads"]

    def feed_forward(inner):
        return [(inner, hidden), (inner, hidden), (hidden, inner)]

    all = []
    for layer in range(c["num_hidden_layers"]):
        if "kv_lora_rank" in c:
            head = c["qk_nope_head_dim"] + c["qk_rope_head_dim"]
            all += [(c["q_lora_rank"], hidden), (heads * head, c["q_lora_rank"])]
            all += [(c["kv_lora_rank"] + c["qk_rope_head_dim"], hidden)]
            all += [(heads * (c["qk_nope_head_dim"] + c["v_head_dim"]), c["kv_lora_rank"]), (hidden, heads * c["v_head_dim"])]
        else:
            head = c.get("head_dim") or hidden // heads
            keys = head * c["num_key_value_heads"]
            all += [(heads * head, hidden), (keys, hidden), (keys, hidden), (hidden, heads * head)]
        experts = c.get("n_routed_experts", 0) if layer >= c.get("first_k_dense_replace", 0) else 0
        if experts:
            all += feed_forward(c["moe_intermediate_size"]) * experts
            all += feed_forward(c["moe_intermediate_size"] * c["n_shared_experts"]) + [(experts, hidden)]
        else:
            all += feed_forward(c["intermediate_size"])
    return all, [(c["vocab_size"], hidden)] * 2


def divide(sizes, count):
    """The share of each job, as checkpoint/src/jobs/extract/part_files/shard.rs divides them."""
    loads, shares = [(0, share) for share in range(count)], [0] * len(sizes)
    for job in sorted(range(len(sizes)), key=lambda job: -sizes[job]):
        load, share = heapq.heappop(loads)
        shares[job] = share
        heapq.heappush(loads, (load + max(sizes[job], 1), share))
    return shares


def core_seconds(shape):
    return shape[0] * shape[1] * (NARROW if shape[1] <= 4096 else WIDE) * 1e-9


def arrivals(loads, bandwidth, storage):
    """When each worker has read its bytes: all get the same share of the storage, at most their own bandwidth."""
    times, now, done = [0.0] * len(loads), 0.0, 0.0
    for place, worker in enumerate(sorted(range(len(loads)), key=lambda worker: loads[worker])):
        now += (loads[worker] - done) / min(bandwidth, storage / (len(loads) - place))
        times[worker], done = now, loads[worker]
    return times


def simulate(config, workers, cores, bandwidth, storage):
    """Wall seconds and what they come from; `bandwidth` of a worker and `storage` of all together in bytes per second."""
    extracted, measured = modules(config)
    jobs = extracted + measured
    sizes = [4 * rows * cols for rows, cols in jobs]
    files = 2 * -(-sum(sizes) / 2 // FILE)
    reading, computing = [0.0] * workers, [0.0] * workers
    longest = [0.0] * workers
    for number, share in enumerate(divide(sizes, workers)):
        reading[share] += sizes[number]
        if number < len(extracted):
            work = core_seconds(jobs[number])
            computing[share] += work
            # At most so many threads share a module.
            longest[share] = max(longest[share], work / min(cores, 2 if jobs[number][1] > 8192 else 4))
    read = arrivals([size + files / 2 * OPENING for size in reading], bandwidth, storage)
    compute = [max(work / cores, long) for work, long in zip(computing, longest)]
    adapter = sum(2 * RANK * (rows + cols) for rows, cols in extracted)
    join = 2 * adapter / min(bandwidth, storage)
    slowest = max(max(pair) for pair in zip(read, compute))
    return {
        "wall": slowest + join, "shares": slowest, "read": max(read), "compute": max(compute), "join": join,
        "weights": sum(rows * cols for rows, cols in extracted), "modules": len(extracted), "bytes": sum(sizes),
        "core_seconds": sum(computing), "adapter": adapter, "largest": max(sizes[: len(extracted)]),
        "uneven": max(reading) / (sum(sizes) / workers), "idle": sum(1 for size in reading if size == 0),
    }  # fmt: skip


def least(config, cores, bandwidth, storage):
    """The number of workers, a power of two, beyond which twice as many save less than a tenth."""
    workers = 1
    while workers < 1 << 14:
        now, then = (simulate(config, n, cores, bandwidth, storage)["wall"] for n in (workers, 2 * workers))
        if then > 0.9 * now:
            break
        workers *= 2
    return workers, now


def seconds(value):
    if value < 120:
        return f"{value:.0f} s" if value >= 9.5 else f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def size(value):
    return next(f"{value / unit:.3g} {name}" for name, unit in [("TB", 1e12), ("GB", 1e9), ("MB", 1e6)] if value >= unit)


def tables(names, cores, bandwidth):
    print("| | weights, modules | bytes of both models | largest module, both sides | core-seconds | adapter, rank 32 |")
    print("|---|---|---|---|---|---|")
    for name in names:
        found = simulate(MODELS[name], 1, cores, bandwidth, bandwidth)
        weights = f"{found['weights'] / 1e9:,.0f} G, {found['modules']:,}"
        cells = [weights, size(found["bytes"]), size(found["largest"]), f"{found['core_seconds']:,.0f}", size(found["adapter"])]
        print(f"| {name} | {' | '.join(cells)} |")
    for storage in (float("inf"), 20e9):
        limit = "storage without a limit" if storage == float("inf") else f"storage of {storage / 1e9:.0f} GB/s in all"
        print(f"\nWorkers of {cores} cores and {bandwidth / 1e9:g} GB/s, {limit}: wall time (of it the join), what bounds the shards\n")
        print("| | 1 | 16 | 256 | twice as many save less than a tenth beyond |")
        print("|---|---|---|---|---|")
        for name in names:
            cells = []
            for workers in (1, 16, 256):
                found = simulate(MODELS[name], workers, cores, bandwidth, storage)
                bound = "reading" if found["read"] >= found["compute"] else "arithmetic"
                cells.append(f"{seconds(found['wall'])} ({seconds(found['join'])}), {bound}")
            workers, wall = least(MODELS[name], cores, bandwidth, storage)
            print(f"| {name} | {' | '.join(cells)} | {workers:,} workers, {seconds(wall)} |")


def check(phlora, base, tuned):
    """Compares the division with what shares of the command hold."""
    with open(pathlib.Path(base) / "model.safetensors", "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    shapes = {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
    length = {name: 2 * (lambda ends: ends[1] - ends[0])(header[name]["data_offsets"]) for name in shapes}
    for count in (2, 3, 7):
        held = []
        with tempfile.TemporaryDirectory() as work:
            for index in range(1, count + 1):
                part = f"{work}/{index}"
                command = [phlora, "extract", base, tuned, "-o", part, "--shard", f"{index}/{count}", "--quiet"]
                subprocess.run([*command, "--mode", "multi-read"], check=True)
                held.append(names(pathlib.Path(part).read_bytes()))
        found = sorted(name for share in held for name in share)
        assert found == sorted(shapes), f"{len(found)} tensors are in {count} shares, expected {len(shapes)}"
        # Ties go by name in the command.
        order = sorted(length, key=lambda name: (-length[name], name))
        expected = [set() for _ in range(count)]
        for name, share in zip(order, divide([length[name] for name in order], count)):
            expected[share].add(name)
        assert [set(share) for share in held] == expected, f"the division into {count} shares is another"
    print(f"the division of {len(shapes)} tensors into 2, 3 and 7 shares is that of the command")


def names(part):
    """The tensor of every record of a part but the first."""
    at, found = 0, []
    while at < len(part):
        mark, text, length, _ = struct.unpack_from("<8sQQQ", part, at)
        assert mark == b"phlorarc"
        entry = json.loads(part[at + 32 : at + 32 + text])
        at += 32 + text + length
        if "key" in entry:
            found.append(entry["key"].split("|")[0])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS)
    parser.add_argument("--config", type=pathlib.Path)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--cores", type=int, default=2, help="of a worker")
    parser.add_argument("--bandwidth", type=float, default=1, help="GB/s of a worker")
    parser.add_argument("--storage", type=float, default=float("inf"), help="GB/s of all workers together")
    parser.add_argument("--check", nargs=3, metavar=("PHLORA", "BASE", "TUNED"))
    args = parser.parse_args()
    if args.check:
        check(*args.check)
    elif args.config or args.model:
        config = json.loads(args.config.read_text()) if args.config else MODELS[args.model]
        found = simulate(config, args.workers, args.cores, args.bandwidth * 1e9, args.storage * 1e9)
        print(json.dumps(found, indent=2))
    else:
        tables(MODELS, args.cores, args.bandwidth * 1e9)


if __name__ == "__main__":
    main()
