"""One matrix: phlora, PyTorch, SciPy and faer from the same bf16 files to both factors in f32."""

import pathlib
import tempfile

import numpy
import scipy.sparse.linalg
import torch
from safetensors import safe_open

from bench import THREADS, bench, least


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


def compare(matrix, rank, whole, runs=3):
    """{method: milliseconds, share of the best kept energy, time over the worse of phlora's neighbouring runs}"""
    peers = {
        "svd_lowrank_2": lambda: matrix.svd_lowrank(rank, 2, runs),
        "svd_lowrank_7": lambda: matrix.svd_lowrank(rank, 7, runs),
        "svds": lambda: matrix.svds(rank, max(1, runs - 1)),
    }
    if whole:
        peers["linalg_svd"] = lambda: matrix.linalg_svd(rank)
        peers["faer"] = lambda: (matrix.faer(), None)
    ours = [matrix.phlora(rank)]
    figures = {}
    for name, peer in peers.items():
        seconds, energy = peer()
        ours.append(matrix.phlora(rank))
        figures[name] = (seconds, energy, seconds / max(ours[-2][0], ours[-1][0]))
    best = max([energy for _, energy, _ in figures.values() if energy is not None] + [ours[0][1]])
    found = {"phlora": {"ms": 1e3 * min(ours)[0], "energy": ours[0][1] / best}}
    for name, (seconds, energy, times) in figures.items():
        found[name] = {"ms": 1e3 * seconds, "times": times}
        if energy is not None:
            found[name]["energy"] = energy / best
    return found


def measured(rows, cols, spectrum, ranks, whole=False):
    """A record per rank."""
    with tempfile.TemporaryDirectory() as directory:
        matrix = Matrix(pathlib.Path(directory), rows, cols, spectrum)
        return [
            {"rows": rows, "cols": cols, "rank": rank, "spectrum": spectrum,
             "methods": compare(matrix, rank, whole and rank == 32)}
            for rank in ranks
        ]


def matrices(quick):
    """Square matrices at three ranks, two further spectra, and other shapes."""
    found = []
    for size in [1024, 2048] if quick else [1024, 2048, 4096, 8192]:
        found += measured(size, size, "middle", (8, 32, 128), whole=size <= 4096)
    for spectrum in ("fast", "slow"):
        size = 2048 if quick else 4096
        found += measured(size, size, spectrum, (32,))
    for rows, cols in [(4096, 64), (64, 4096)] + ([] if quick else [(4096, 14336), (14336, 4096)]):
        found += measured(rows, cols, "middle", (32,))
    return found
