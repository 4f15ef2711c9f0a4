"""The inner loops on one core: the fused product against sgemm, the small decompositions against LAPACK."""

import ctypes
import os
import subprocess
import sys
import tempfile

import numpy
import scipy.linalg

from bench import bench, least, openblas

SGEMM = """
import numpy, time
a = numpy.random.rand(2048, 2048).astype("f4"); b = a.T.copy()
best = 9
for _ in range(8):
    t = time.perf_counter(); a @ b; best = min(best, time.perf_counter() - t)
print(2 * 2048**3 / best / 1e9)
"""


def sgemm():
    """GFLOP/s of OpenBLAS on one core, with the kernels of its own choice."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        environment.pop(name, None)
    run = subprocess.run([sys.executable, "-c", SGEMM], env=environment, check=True, capture_output=True, text=True)
    return float(run.stdout)


def product():
    """GFLOP/s of the fused product per kernel, format and width, and of sgemm (2048³) as the limit."""
    before = sgemm()
    lines = bench("kernel")
    rows = {}
    for line in lines:
        row = rows.setdefault((line["kernel"], line["dtype"]), {"kernel": line["kernel"], "dtype": line["dtype"]})
        row[f"width_{line['width']}"] = line["gflops"]
    return {"sgemm_gflops": max(before, sgemm()), "rows": list(rows.values())}


def gram():
    """Eigenpairs of a Gram matrix, as a multi-read extraction needs them: all values, some vectors."""
    openblas()
    rows = []
    for size, vectors in ((96, 32), (192, 64), (448, 128), (816, 256)):
        y = numpy.random.default_rng(size).standard_normal((size + 32, size)).astype("f4")
        matrix = y.T @ y
        some = {"subset_by_index": [size - vectors, size - 1], "driver": "evr"}
        peers = {"ssyevd_ms": {"driver": "evd"}, "ssyevr_ms": {"driver": "evr"}, "ssyevr_some_ms": some}
        with tempfile.NamedTemporaryFile() as file:
            matrix.tofile(file.name)
            ours = lambda: min(line["seconds"] for line in bench("gram", file.name, size, vectors))
            before = ours()
            row = {
                name: 1e3 * least(lambda: scipy.linalg.eigh(matrix, check_finite=False, **options), 10)[0]
                for name, options in peers.items()
            }
            rows.append({"size": size, "vectors": vectors, "phlora_ms": 1e3 * max(before, ours()), **row})
    return rows


def jacobi():
    """One-sided Jacobi of a square matrix: LAPACK's from the OpenBLAS that scipy carries."""
    library = openblas()
    integer = lambda value: ctypes.byref(ctypes.c_int(value))
    rows = []
    for size in (64, 128, 256):
        a = numpy.random.default_rng(size).standard_normal((size, size)).astype("f4")

        def lapack():
            u = numpy.asfortranarray(a.copy())
            sigma, v = numpy.zeros(size, "f4"), numpy.zeros((size, size), "f4", order="F")
            work, info = numpy.zeros(2 * size + 6, "f4"), ctypes.c_int(0)
            pointer = lambda array: array.ctypes.data_as(ctypes.c_void_p)

            def run():
                library.scipy_sgesvj_(
                    b"G", b"U", b"V", integer(size), integer(size), pointer(u), integer(size), pointer(sigma),
                    integer(0), pointer(v), integer(size), pointer(work), integer(work.size),
                    ctypes.byref(info), 1, 1, 1,
                )

            seconds, _ = least(run, 1)
            assert info.value == 0, info
            return seconds

        with tempfile.NamedTemporaryFile() as file:
            numpy.asfortranarray(a).T.tofile(file.name)
            ours = lambda: min(line["seconds"] for line in bench("svd", file.name, size, size))
            before = ours()
            theirs = min(lapack() for _ in range(5))
            rows.append({"size": size, "phlora_ms": 1e3 * max(before, ours()), "sgesvj_ms": 1e3 * theirs})
    return rows
