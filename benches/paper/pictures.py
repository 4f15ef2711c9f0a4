"""Pictures and films of what scikit-learn carries: its handwritten digits and its two photographs."""

import gzip

import numpy as np
import packages
import torch
from PIL import Image
from torch.nn import functional

SIDE = 24
TURNS = [2, 3, 4, 5, 7]  # the digits that say how they are turned
DIRECTIONS = 8
MOVES = ["straight", "there and back", "left turn", "right turn", "towards", "away"]
FRAMES = 8


def digits():
    """(pictures of 8 × 8 from 0 to 1, digits); every fifth is for the held-back examples."""
    table = np.loadtxt(
        gzip.open(packages.folder("sklearn") / "datasets/data/digits.csv.gz"), delimiter=",", dtype=np.float32
    )
    return torch.from_numpy(table[:, :-1]).view(-1, 1, 8, 8) / 16, torch.from_numpy(table[:, -1]).long()


def photographs():
    """Both, [3, height, width] from 0 to 1: china.jpg, flower.jpg."""
    folder = packages.folder("sklearn") / "datasets/images"
    for name in ["china.jpg", "flower.jpg"]:
        yield torch.from_numpy(np.asarray(Image.open(folder / name), np.float32) / 255).permute(2, 0, 1)


class Source:
    """Draws examples: digits of the train or the held-back fifth, in places by its own generator."""

    def __init__(self, held_back, seed):
        pictures, self.labels = digits()
        mine = (torch.arange(len(pictures)) % 5 == 4) == held_back
        self.pictures, self.labels = pictures[mine], self.labels[mine]
        self.photographs = list(photographs())
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, count, low, high):
        return low + (high - low) * torch.rand(count, generator=self.generator)

    def draw(self, count, among=None):
        """Indices of random digits."""
        choice = torch.arange(len(self.labels))
        if among is not None:
            choice = choice[torch.isin(self.labels, torch.tensor(among))]
        return choice[torch.randint(len(choice), (count,), generator=self.generator)]

    def placed(self, at, x, y, size):
        """[n, 1, SIDE, SIDE]: digits with their centres at x, y from −1 to 1, `size` of the side."""
        theta = torch.zeros(len(at), 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = 1 / size
        theta[:, 0, 2], theta[:, 1, 2] = -x / size, -y / size
        grid = functional.affine_grid(theta, (len(at), 1, SIDE, SIDE), align_corners=False)
        return functional.grid_sample(self.pictures[at], grid, align_corners=False)

    def plain(self, count):
        """Digits on black, and which digit each is."""
        at = self.draw(count)
        x, y = self.uniform(count, -0.1, 0.1), self.uniform(count, -0.1, 0.1)
        picture = self.placed(at, x, y, self.uniform(count, 0.65, 0.9))
        return {"pixel_values": picture.expand(-1, 3, -1, -1) - 0.5}, self.labels[at]

    def turned(self, count):
        """Bright digits on dark pieces of photographs, and by how many quarters each is turned."""
        at = self.draw(count, TURNS)
        x, y = self.uniform(count, -0.1, 0.1), self.uniform(count, -0.1, 0.1)
        digit = self.placed(at, x, y, self.uniform(count, 0.65, 0.9))
        quarters = torch.randint(4, (count,), generator=self.generator)
        digit = torch.stack([torch.rot90(d, int(q), (1, 2)) for d, q in zip(digit, quarters)])
        ground = torch.stack([self.piece() for _ in range(count)]) / 2
        colour = 0.6 + 0.4 * torch.rand(count, 3, 1, 1, generator=self.generator)
        return {"pixel_values": ground * (1 - digit) + colour * digit - 0.5}, quarters

    def piece(self):
        photograph = self.photographs[int(torch.randint(2, (1,), generator=self.generator))]
        top = int(torch.randint(photograph.shape[1] - SIDE, (1,), generator=self.generator))
        left = int(torch.randint(photograph.shape[2] - SIDE, (1,), generator=self.generator))
        return photograph[:, top : top + SIDE, left : left + SIDE]

    def film(self, at, x, y, size):
        """[n, FRAMES, 3, SIDE, SIDE] of positions and sizes [n, FRAMES], with noise."""
        frames = [self.placed(at, x[:, f], y[:, f], size[:, f]) for f in range(FRAMES)]
        film = torch.stack(frames, 1)
        film = film + 0.15 * torch.randn(film.shape, generator=self.generator) - 0.5
        return {"pixel_values": film.expand(-1, -1, 3, -1, -1)}

    def moving(self, count):
        """Films of digits that move straight, and in which of eight directions."""
        direction = torch.randint(DIRECTIONS, (count,), generator=self.generator)
        angle = direction * (2 * torch.pi / DIRECTIONS) + self.uniform(count, -0.2, 0.2)
        step = torch.linspace(-1, 1, FRAMES)[None] * self.uniform(count, 0.3, 0.6)[:, None]
        x, y = step * angle.cos()[:, None], step * angle.sin()[:, None]
        size = self.uniform(count, 0.4, 0.6)[:, None].expand(-1, FRAMES)
        return self.film(self.draw(count), x, y, size), direction

    def manoeuvres(self, count):
        """Films of digits that move in one of the ways of MOVES, in any direction, and which."""
        kind = torch.randint(len(MOVES), (count,), generator=self.generator)
        time = torch.linspace(-1, 1, FRAMES)[None].expand(count, -1)
        angle = self.uniform(count, 0, 2 * torch.pi)[:, None]
        reach = self.uniform(count, 0.3, 0.6)[:, None]
        along = torch.where((kind == 1)[:, None], 1 - 2 * time.abs(), time) * reach
        aside = (1 - time**2) * ((kind == 2).float() - (kind == 3).float())[:, None] * 0.35
        x, y = along * angle.cos() - aside * angle.sin(), along * angle.sin() + aside * angle.cos()
        growth = ((kind == 4).float() - (kind == 5).float())[:, None] * time * 0.2
        size = self.uniform(count, 0.4, 0.6)[:, None] + growth
        return self.film(self.draw(count), x, y, size), kind
