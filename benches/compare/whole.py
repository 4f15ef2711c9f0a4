"""Whole models, budgets, and applying adapters, beside copying and reading."""

import json
import pathlib
import subprocess
import tempfile

from bench import RELEASE, ROOT, bench


def models(quick):
    """Seconds of `phlora extract` of generated models, files in the page cache: the least of five runs."""
    found = []
    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory)
        for name, options, ranks in [("small", ("--layers", 2, "--vocab", 4000), [32]), ("large", (), [32, 128])]:
            if quick and name == "large":
                continue
            bench("generate", folder / name, *options)
            sides = [folder / name / f"{side}.safetensors" for side in ("base", "tuned")]
            for rank in ranks:
                runs = []
                for _ in range(5):
                    command = ["extract", *sides, "-o", folder / "adapter", "--rank", rank, "--report", folder / "report.json"]
                    command = [RELEASE / "phlora", *command, "--force", "--quiet"]
                    subprocess.run(list(map(str, command)), check=True)
                    runs.append(json.loads((folder / "report.json").read_text()))
                parameters = runs[0]["total"]["parameters_in"]
                found.append({"parameters": parameters, "rank": rank, "seconds": min(run["seconds"] for run in runs)})
    return found


def budgets():
    """Energy at equal bytes in three generated models with uneven layers."""
    found = []
    with tempfile.TemporaryDirectory() as directory:
        for seed in (1, 2, 3):
            folder = pathlib.Path(directory) / str(seed)
            sizes = ("--layers", 4, "--hidden", 512, "--ffn", 1408, "--kv", 128, "--vocab", 256)
            bench("generate", folder, *sizes, "--uneven", seed)
            sides = [folder / f"{side}.safetensors" for side in ("base", "tuned")]
            lines = bench("budget", *sides, "--ranks", "4,16", "--directory", folder)
            found += [{"model": f"uneven {seed}", **line} for line in lines]
        pair = [ROOT / "tests/data/tiny-llama" / side for side in ("base", "tuned")]
        lines = bench("budget", *pair, "--ranks", "4,8,16,32", "--directory", directory)
        found += [{"model": "real pair", **line} for line in lines]
    return found


def at_work():
    """What `phlora-bench apply` measures, under the names of the page."""
    levels = {1: "second_level", 16: "third_level", 1024: "memory"}
    token, found = {}, {"together": [], "route": [], "merge": []}
    for line in bench("apply"):
        if "forward" in line:
            key = (line["dtype"], line["rank"])
            row = token.setdefault(key, {"dtype": line["dtype"].lower(), "rank": line["rank"]})
            row[levels[line["mebibytes"]]] = line["share_of_read"]
        elif "together" in line:
            row = {"times_faster": line["times_faster_than_apart"], "microseconds": line["microseconds"]}
            found["together"].append({"tokens": line["tokens"], "dtype": line["dtype"].lower(), "rank": line["rank"], **row})
        elif "route" in line:
            found["route"].append({"layers": line["layers"], "times_faster": line["times_faster"]})
        else:
            row = {"in_place": line["share_of_copy_in_place"], "elsewhere": line["share_of_copy_elsewhere"]}
            found["merge"].append({"dtype": line["dtype"].lower(), **row})
    return {"token": list(token.values()), **found}
