"""phlora beside what users run today: one table with ratios, from one run on this machine.

    python=$(tests/interop/setup.sh); cargo build --release -p phlora-benches --features peers
    $python benches/compare/compare.py [--quick] [--only kernel,svd,gram,matrix,spectra] > table.md

Every time is the least of several runs. phlora runs right before and right after each peer, and the ratio takes
the worse of the two, so a drifting machine cannot flatter it.
Peers get the same two cores. All start from bf16 (mapped, in the page cache) and end with both factors in f32.
"""

import argparse
import ctypes
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy
import scipy.linalg
import scipy.sparse.linalg
import torch
from safetensors import safe_open

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "phlora-bench"
THREADS = 2


def bench(*arguments):
    """Lines of JSON from phlora's side."""
    run = subprocess.run([BENCH, *map(str, arguments)], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def least(function, runs):
    """Least seconds of some runs, and the last result."""
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        result = function()
        best = min(best, time.perf_counter() - start)
    return best, result


class Matrix:
    """A generated bf16 pair on disk and how peers take their difference."""

    def __init__(self, directory, rows, cols, spectrum):
        self.directory = directory
        bench("matrix", directory, rows, cols, spectrum)
        self.base, self.tuned = (self.side(name) for name in ("base", "tuned"))
        self.norm = float(self.delta().double().pow(2).sum())

    def side(self, name):
        with safe_open(self.directory / f"{name}.safetensors", framework="pt") as file:
            return file.get_tensor("w.weight")

    def delta(self):
        return self.tuned.float() - self.base.float()

    def energy(self, b, a):
        """What b·a keeps of the difference, in f64."""
        left = sum(
            float((rows.double() - part.double() @ a.double()).pow(2).sum())
            for rows, part in zip(self.delta().split(512), b.split(512))
        )
        return 1 - left / self.norm

    def phlora(self, rank, runs=5):
        lines = bench(
            "extract", self.directory / "base.safetensors", self.directory / "tuned.safetensors",
            "--rank", rank, "--threads", THREADS, "--runs", runs,
        )
        return min(line["seconds"] for line in lines), lines[-1]["energy"]

    def svd_lowrank(self, rank, niter, runs):
        def run():
            u, s, v = torch.svd_lowrank(self.delta(), q=rank, niter=niter)
            return u * s.sqrt(), (v * s.sqrt()).T

        seconds, factors = least(run, runs)
        return seconds, self.energy(*factors)

    def svds(self, rank, runs):
        def run():
            u, s, vt = scipy.sparse.linalg.svds(self.delta().numpy(), k=rank)
            root = numpy.sqrt(s)
            return u * root, root[:, None] * vt

        seconds, (b, a) = least(run, runs)
        return seconds, self.energy(torch.from_numpy(b.copy()), torch.from_numpy(a.copy()))

    def linalg_svd(self, rank):
        def run():
            u, s, vt = torch.linalg.svd(self.delta(), full_matrices=False)
            root = s[:rank].sqrt()
            return u[:, :rank] * root, root[:, None] * vt[:rank]

        seconds, factors = least(run, 1)
        return seconds, self.energy(*factors)

    def faer(self):
        file = self.directory / "delta.f32"
        delta = self.delta().numpy()
        delta.tofile(file)
        return min(line["seconds"] for line in bench("faer", file, delta.shape[0], "--threads", THREADS))


def table(header, rows):
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print(flush=True)


def kernel():
    """The fused product on one core as a share of OpenBLAS's sgemm (2048³) on that core."""
    code = (
        "import numpy, time\n"
        "a = numpy.random.rand(2048, 2048).astype('f4'); b = a.T.copy()\n"
        "best = 9\n"
        "for _ in range(8):\n"
        "    t = time.perf_counter(); a @ b; best = min(best, time.perf_counter() - t)\n"
        "print(2 * 2048**3 / best / 1e9)\n"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        environment.pop(name, None)
    sgemm = lambda: float(subprocess.run([sys.executable, "-c", code], env=environment, check=True,
                                         capture_output=True, text=True).stdout)
    before = sgemm()
    lines = bench("kernel")
    limit = max(before, sgemm())
    print(f"sgemm 2048³, one core: {limit:.1f} GFLOP/s\n")
    table(
        ["kernel", "format", "width 8, GFLOP/s", "share", "width 16, GFLOP/s", "share"],
        [
            [one["kernel"], one["dtype"]]
            + [text for line in (one, two) for text in (f"{line['gflops']:.1f}", f"{line['gflops'] / limit:.0%}")]
            for one, two in zip(lines[::2], lines[1::2])
        ],
    )


def compare(matrix, rank, whole, runs=3):
    """Rows of peers against phlora, with the ratio to the worse of the neighbouring runs."""
    peers = [
        ("`torch.svd_lowrank`, niter 2", lambda: matrix.svd_lowrank(rank, 2, runs)),
        ("`torch.svd_lowrank`, niter 7", lambda: matrix.svd_lowrank(rank, 7, runs)),
        ("scipy `svds`", lambda: matrix.svds(rank, max(1, runs - 1))),
    ]
    if whole:
        peers.append(("`torch.linalg.svd`", lambda: matrix.linalg_svd(rank)))
    ours = [matrix.phlora(rank)]
    figures = []
    for name, peer in peers:
        seconds, energy = peer()
        ours.append(matrix.phlora(rank))
        figures.append((name, seconds, energy, seconds / max(ours[-2][0], ours[-1][0])))
    if whole:
        seconds = matrix.faer()
        ours.append(matrix.phlora(rank))
        figures.append(("faer `thin_svd`", seconds, None, seconds / max(ours[-2][0], ours[-1][0])))
    best = max(energy for _, _, energy, _ in figures if energy is not None)
    share = lambda energy: "–" if energy is None else f"{energy / best:.4f}"
    rows = [["phlora", f"{min(ours)[0] * 1e3:.0f}", share(ours[0][1]), "1"]]
    rows += [[name, f"{s * 1e3:.0f}", share(energy), f"{ratio:.1f}"] for name, s, energy, ratio in figures]
    return rows


def matrices(quick):
    sizes = [1024, 2048] if quick else [1024, 2048, 4096, 8192]
    for size in sizes:
        with tempfile.TemporaryDirectory() as directory:
            matrix = Matrix(pathlib.Path(directory), size, size, "middle")
            for rank in (8, 32, 128):
                print(f"{size} × {size} bf16, rank {rank}, middle spectrum\n")
                whole = rank == 32 and size <= 4096
                table(["method", "ms", "energy / best", "time / phlora's"], compare(matrix, rank, whole))


def spectra(quick):
    size = 2048 if quick else 4096
    for spectrum in ("fast", "slow"):
        with tempfile.TemporaryDirectory() as directory:
            matrix = Matrix(pathlib.Path(directory), size, size, spectrum)
            print(f"{size} × {size} bf16, rank 32, {spectrum} spectrum\n")
            table(["method", "ms", "energy / best", "time / phlora's"], compare(matrix, 32, False))
    for rows, cols in [(4096, 64), (64, 4096)] + ([] if quick else [(4096, 14336), (14336, 4096)]):
        with tempfile.TemporaryDirectory() as directory:
            matrix = Matrix(pathlib.Path(directory), rows, cols, "middle")
            print(f"{rows} × {cols} bf16, rank 32, middle spectrum\n")
            table(["method", "ms", "energy / best", "time / phlora's"], compare(matrix, 32, False))


def openblas():
    """The LAPACK that scipy carries, on one core."""
    pattern = pathlib.Path(scipy.__file__).parent.parent / "scipy.libs"
    library = ctypes.CDLL(str(next(pattern.glob("libscipy_openblas*.so"))))
    library.scipy_openblas_set_num_threads(1)
    return library


def gram():
    """Eigenpairs of a Gram matrix, as a multi-read extraction needs them: all values, some vectors."""
    openblas()
    rows = []
    for size, vectors in ((96, 32), (192, 64), (448, 128), (816, 256)):
        y = numpy.random.default_rng(size).standard_normal((size + 32, size)).astype("f4")
        matrix = y.T @ y
        with tempfile.NamedTemporaryFile() as file:
            matrix.tofile(file.name)
            ours = [min(line["seconds"] for line in bench("gram", file.name, size, vectors))]
            some = {"subset_by_index": [size - vectors, size - 1], "driver": "evr"}
            peers = [
                least(lambda options=options: scipy.linalg.eigh(matrix, check_finite=False, **options), 10)[0]
                for options in ({"driver": "evd"}, {"driver": "evr"}, some)
            ]
            ours.append(min(line["seconds"] for line in bench("gram", file.name, size, vectors)))
        figures = [f"{peer * 1e3:.2f} ms, × {peer / max(ours):.1f}" for peer in peers]
        rows.append([f"{size}, {vectors}", f"{max(ours) * 1e3:.2f} ms", *figures])
    print("All singular values and some vectors from the Gram matrix of a random matrix, one core\n")
    table(["size, vectors", "phlora", "`ssyevd`, all vectors", "`ssyevr`, all vectors", "`ssyevr`, as many"], rows)


def sgesvj():
    """One-sided Jacobi of a square matrix, one core each: LAPACK's from the OpenBLAS that scipy carries."""
    library = openblas()
    integer = lambda value: ctypes.byref(ctypes.c_int(value))
    rows = []
    for size in (64, 128, 256):
        a = numpy.random.default_rng(size).standard_normal((size, size)).astype("f4")
        with tempfile.NamedTemporaryFile() as file:
            numpy.asfortranarray(a).T.tofile(file.name)

            def lapack():
                u = numpy.asfortranarray(a.copy())
                sigma, v = numpy.zeros(size, "f4"), numpy.zeros((size, size), "f4", order="F")
                work, info = numpy.zeros(2 * size + 6, "f4"), ctypes.c_int(0)
                pointer = lambda array: array.ctypes.data_as(ctypes.c_void_p)
                start = time.perf_counter()
                library.scipy_sgesvj_(
                    b"G", b"U", b"V", integer(size), integer(size), pointer(u), integer(size), pointer(sigma),
                    integer(0), pointer(v), integer(size), pointer(work), integer(work.size),
                    ctypes.byref(info), 1, 1, 1,
                )
                seconds = time.perf_counter() - start
                assert info.value == 0, info
                return seconds

            ours = [min(line["seconds"] for line in bench("svd", file.name, size, size))]
            theirs = min(lapack() for _ in range(5))
            ours.append(min(line["seconds"] for line in bench("svd", file.name, size, size)))
        rows.append([f"{size} × {size}", f"{max(ours) * 1e3:.2f}", f"{theirs * 1e3:.2f}", f"{theirs / max(ours):.2f}"])
    print("One-sided Jacobi, U, Σ and V of a random matrix, one core\n")
    table(["size", "phlora, ms", "LAPACK `sgesvj`, ms", "time / phlora's"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--only", default="kernel,svd,gram,matrix,spectra", help="which parts")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    for part in arguments.only.split(","):
        if part == "kernel":
            kernel()
        elif part == "svd":
            sgesvj()
        elif part == "gram":
            gram()
        elif part == "matrix":
            matrices(arguments.quick)
        elif part == "spectra":
            spectra(arguments.quick)
        else:
            parser.error(f"no part {part!r}")


if __name__ == "__main__":
    main()
