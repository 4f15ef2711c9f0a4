"""Prints the table of core/src/format/compact/levels.rs: Lloyd-Max quantisers of a standard normal variable, 1 to 8 bits.

    python3 tests/interop/compact_levels.py

Both conditions of optimality are iterated until they hold: a threshold lies in the middle of two levels, and a level is the
mean of its cell. Only the upper halves are printed, as the bits of f16: the lower ones are their negatives.
"""

from statistics import NormalDist

import numpy as np

NORMAL = NormalDist()


def levels(bits, tolerance=1e-10):
    """The levels above 0, ascending, and the mean squared error."""
    count = 2 ** (bits - 1)
    found = np.array([3**0.5 * NORMAL.inv_cdf(0.5 + (i + 0.5) / (2 * count)) for i in range(count)])
    while True:
        edges = [0.0, *(found[1:] + found[:-1]) / 2]
        density = np.array([*map(NORMAL.pdf, edges), 0.0])
        above = np.array([*(NORMAL.cdf(-edge) for edge in edges), 0.0])
        means = (density[:-1] - density[1:]) / (above[:-1] - above[1:])
        if np.abs(means - found).max() < tolerance:
            return means, 1 - 2 * np.sum(means**2 * (above[:-1] - above[1:]))
        found = means


def main():
    for bits in range(1, 9):
        found, error = levels(bits)
        print(f"// {bits} bits, mean squared error {error:.6e}")
        halves = [f"0x{half:04x}" for half in found.astype("<f2").view("<u2")]
        for at in range(0, len(halves), 12):
            print(", ".join(halves[at : at + 12]) + ",")


main()
