"""Drawing primitives: a plane of coordinates, soft shapes, smooth random textures.

Everything is drawn in body coordinates, from -1 to 1 across the image whatever its size in
pixels, so that one drawing serves every resolution. Shapes are signed distances (negative
inside, the units of the plane); `cover` turns a distance into a coverage between 0 and 1, `paint`
blends a grey level or a colour in by coverage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
Point: TypeAlias = tuple[float, float]

SUPERSAMPLED_EDGE = 72
SEGMENTS_AT_ONCE = 64
SEEDS_APART = 32  # squares after which scattered cells repeat
# Standard deviation of white noise after interpolation by cubic B-splines along one axis.
SPLINE_DEVIATION = 0.692


@dataclass(frozen=True)
class Plane:
    """Body coordinates of every pixel.

    Attributes
    ----------
    x, y
        float32 (edge, edge): to the right and downwards, -1 to 1 where nothing was moved.
    """

    x: Array
    y: Array

    @property
    def edge(self) -> int:
        """Pixels along a side."""
        return len(self.x)

    def move(
        self,
        rng: np.random.Generator,
        shift: float,
        zoom: tuple[float, float],
        turn: float,
    ) -> Plane:
        """Return the plane as a body sees it that lies shifted, zoomed and turned at random.

        Parameters
        ----------
        rng
            Source of the pose.
        shift
            Standard deviation of the position along each axis.
        zoom
            Least and greatest magnification; the two axes differ by up to 10 %.
        turn
            Standard deviation of the rotation in degrees.
        """
        centre_x, centre_y = shift * rng.standard_normal(2)
        stretch = rng.uniform(0.95, 1.05)
        scale = rng.uniform(*zoom)
        angle = np.deg2rad(turn) * rng.standard_normal()
        x, y = (self.x - centre_x) / (scale * stretch), (self.y - centre_y) / (scale / stretch)
        cosine, sine = np.cos(angle), np.sin(angle)
        return Plane(
            (cosine * x + sine * y).astype(np.float32), (cosine * y - sine * x).astype(np.float32)
        )

    def warp(self, rng: np.random.Generator, cells: int, amount: float) -> Plane:
        """Return the plane bent smoothly: `amount` is the standard deviation of the shift."""
        return Plane(
            self.x + amount * texture(rng, self.edge, (cells, cells)),
            self.y + amount * texture(rng, self.edge, (cells, cells)),
        )


@cache
def plane(edge: int) -> Plane:
    """Return the coordinates of the pixel centres of a square image of `edge` pixels a side."""
    axis = ((np.arange(edge) + 0.5) * (2 / edge) - 1).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    for coordinate in (x, y):
        coordinate.flags.writeable = False
    return Plane(x, y)


def oversampling(size: int) -> int:
    """Pixels drawn along a side for each pixel of an image of `size`: small ones need more."""
    return max(2, round(SUPERSAMPLED_EDGE / size))


def average_down(image: Array, factor: int) -> Array:
    """Average blocks of `factor` x `factor` pixels of an image (H, W) or (3, H, W)."""
    *channels, height, width = image.shape
    rows = image.reshape(*channels, height // factor, factor, width).mean(-2)
    blocks: Array = rows.reshape(*channels, height // factor, width // factor, factor).mean(-1)
    return blocks


def cover(distance: Array, softness: float) -> Array:
    """Coverage of a shape: 1 inside, 0 outside, a smooth step of width `softness` between."""
    step = np.clip(0.5 - distance / softness, 0, 1)
    smooth: Array = step * step * (3 - 2 * step)
    return smooth


def paint(image: Array, coverage: Array, level: float | Array | Sequence[float]) -> None:
    """Blend `level` into `image` in place.

    Parameters
    ----------
    image
        (edge, edge) grey or (3, edge, edge) colour.
    coverage
        (edge, edge) between 0 and 1.
    level
        A grey level, a colour, or an array that broadcasts to the image.
    """
    levels = np.asarray(level, np.float32)
    if levels.ndim == 1:
        levels = levels[:, np.newaxis, np.newaxis]
    image += coverage * (levels - image)


def ellipse(where: Plane, centre: Point, radii: Point, angle: float = 0.0) -> Array:
    """Signed distance to an ellipse, exact for circles, approximate elsewhere.

    `angle` in radians turns the ellipse clockwise on the screen.
    """
    along, across = _local(where, centre, angle)
    radius = np.sqrt((along / radii[0]) ** 2 + (across / radii[1]) ** 2)
    distance: Array = (radius - 1) * min(radii)
    return distance


def blob(
    rng: np.random.Generator,
    where: Plane,
    centre: Point,
    radii: Point,
    roughness: float,
    lobes: int = 6,
) -> Array:
    """Signed distance to an ellipse, turned at random, whose outline wavers.

    `roughness` is the standard deviation of the relative radius, spread over `lobes` harmonics.
    """
    along, across = _local(where, centre, rng.uniform(0, np.pi))
    point = along / np.float32(radii[0]) + 1j * (across / np.float32(radii[1]))
    radius = np.abs(point)
    turn = point / np.maximum(radius, 1e-6)
    amplitudes = roughness / np.sqrt(np.arange(2, lobes + 2)) * rng.standard_normal(lobes)
    phases = np.exp(1j * rng.uniform(0, 2 * np.pi, lobes))
    outline, power = np.ones_like(radius), turn
    # cos(k angle + phase) is the real part of a power of a number on the unit circle.
    for weight in (amplitudes * phases).astype(np.complex64):
        power = power * turn
        outline += (weight * power).real
    distance: Array = (radius - np.maximum(outline, 0.2)) * min(radii)
    return distance


def strokes(where: Plane, lines: Array, widths: Array) -> Array:
    """Signed distance to the union of thick line segments with round ends.

    Parameters
    ----------
    where
        The plane to draw on.
    lines
        float (n, 2, 2): start and end of each segment, as (x, y).
    widths
        float (n,): half the thickness of each.
    """
    nearest = np.full_like(where.x, np.inf)
    for line, width in zip(lines.astype(np.float32), widths.astype(np.float32), strict=True):
        np.minimum(nearest, _gap(where.x, where.y, line, width), out=nearest)
    return nearest


def _gap(x: Array, y: Array, line: Array, width: Array) -> Array:
    """Signed distance to segments (2, 2, ...) whose last axes broadcast with the coordinates."""
    (start_x, start_y), (end_x, end_y) = line
    along_x, along_y = end_x - start_x, end_y - start_y
    squared = np.maximum(along_x**2 + along_y**2, np.float32(1e-9))
    from_x, from_y = x - start_x, y - start_y
    part = np.clip(from_x * (along_x / squared) + from_y * (along_y / squared), 0, 1)
    gap_x, gap_y = from_x - part * along_x, from_y - part * along_y
    gap: Array = np.sqrt(gap_x * gap_x + gap_y * gap_y) - width
    return gap


def spots(where: Plane, centres: Array, radii: Array, softness: float) -> Array:
    """Coverage of many small discs, each drawn within its own rows and columns alone.

    Parameters
    ----------
    where
        A plane that lies straight: `x` grows along columns, `y` along rows.
    centres, radii
        float (n, 2) as (x, y), and (n,).
    softness
        Width of the rims.
    """
    coverage = np.zeros_like(where.x)
    for (x, y), radius in zip(centres, radii, strict=True):
        reach = radius + softness
        rows = slice(*np.searchsorted(where.y[:, 0], (y - reach, y + reach)))
        columns = slice(*np.searchsorted(where.x[0], (x - reach, x + reach)))
        distance = np.hypot(where.x[rows, columns] - x, where.y[rows, columns] - y) - radius
        np.maximum(coverage[rows, columns], cover(distance, softness), out=coverage[rows, columns])
    return coverage


def threads(where: Plane, lines: Array, widths: Array, softness: float) -> Array:
    """Coverage of many thin segments, each drawn within its own rows and columns alone.

    Parameters
    ----------
    where
        A plane that lies straight: `x` grows along columns, `y` along rows.
    lines, widths
        As for `strokes`.
    softness
        Width of the rims.
    """
    coverage = np.zeros_like(where.x)
    reach = (widths + softness)[:, np.newaxis]
    boxes = np.stack([lines.min(1) - reach, lines.max(1) + reach])
    seen = np.flatnonzero(((boxes[1] > -1) & (boxes[0] < 1)).all(1))
    first_column, last_column = np.searchsorted(where.x[0], boxes[:, seen, 0])
    first_row, last_row = np.searchsorted(where.y[:, 0], boxes[:, seen, 1])
    height, breadth = last_row - first_row, last_column - first_column
    # One call for each segment would spend its time on calls; like sizes waste the least room.
    order = np.argsort(np.maximum(height, breadth), kind="stable")
    for few in np.split(order, range(SEGMENTS_AT_ONCE, len(order), SEGMENTS_AT_ONCE)):
        down = np.arange(height[few].max(initial=0))[:, np.newaxis]
        across = np.arange(breadth[few].max(initial=0))
        rows = np.minimum(first_row[few, np.newaxis, np.newaxis] + down, where.edge - 1)
        columns = np.minimum(first_column[few, np.newaxis, np.newaxis] + across, where.edge - 1)
        line = lines[seen[few]].astype(np.float32).transpose(1, 2, 0)[..., np.newaxis, np.newaxis]
        width = widths[seen[few], np.newaxis, np.newaxis].astype(np.float32)
        distance = _gap(where.x[0][columns], where.y[:, 0][rows], line, width)
        np.maximum.at(coverage, (rows, columns), cover(distance, softness))
    return coverage


def level_lines(field: Array, pixel: float) -> Array:
    """Distance to where a smooth field is 0, to first order: its value over its slope.

    Parameters
    ----------
    field
        (edge, edge).
    pixel
        Edge of a pixel, in the units of the distance.
    """
    down, across = np.gradient(field, pixel)
    distance: Array = np.abs(field) / np.maximum(np.hypot(down, across), 1e-3)
    return distance


def path(points: Array) -> Array:
    """Segments (n - 1, 2, 2) that join points (n, 2), for `strokes`."""
    return np.stack([points[:-1], points[1:]], axis=1)


def texture(rng: np.random.Generator, edge: int, cells: tuple[int, int]) -> Array:
    """Smooth Gaussian noise of mean 0 and standard deviation 1, as float32 (edge, edge).

    White noise on a lattice of `cells` (rows, columns), interpolated by cubic B-splines.
    """
    lattice = rng.standard_normal((cells[0] + 3, cells[1] + 3)).astype(np.float32)
    smooth = _spline(edge, cells[0]) @ lattice @ _spline(edge, cells[1]).T
    noise: Array = smooth / np.float32(SPLINE_DEVIATION**2)
    return noise


def clouds(
    rng: np.random.Generator, edge: int, cells: tuple[int, int], octaves: int, decay: float
) -> Array:
    """Sum of textures, each twice as fine as the one before and `decay` times as strong."""
    total = np.zeros((edge, edge), np.float32)
    for octave in range(octaves):
        scale = 2**octave
        total += decay**octave * texture(rng, edge, (cells[0] * scale, cells[1] * scale))
    return total / np.float32(np.sqrt(sum(decay ** (2 * octave) for octave in range(octaves))))


def tissue(rng: np.random.Generator, where: Plane, cells: float) -> tuple[Array, Array, Array]:
    """Scatter cells over the plane, about `cells` along a length of 1.

    Worley's cellular basis (SIGGRAPH 1996): one seed at random in each square of a lattice.

    Returns
    -------
    tuple of Array
        Distances to the nearest and to the second nearest seed in units of a square's side, and
        a random number between 0 and 1 that belongs to the nearest seed.
    """
    across, down = where.x * np.float32(cells), where.y * np.float32(cells)
    left, top = np.floor(across).astype(np.intp), np.floor(down).astype(np.intp)
    # The lattice repeats: which seeds there are must not depend on the pixels that see them.
    seeds = rng.random((3, SEEDS_APART**2), dtype=np.float32)
    offset_x, offset_y = across - left, down - top
    first, second = np.full_like(across, 9), np.full_like(across, 9)
    identity = np.zeros_like(across)
    for row in (-1, 0, 1):
        for column in (-1, 0, 1):
            near = (top + row) % SEEDS_APART * SEEDS_APART + (left + column) % SEEDS_APART
            gap_x = offset_x - column - seeds[0].take(near)
            gap_y = offset_y - row - seeds[1].take(near)
            gap = gap_x * gap_x + gap_y * gap_y
            np.copyto(identity, seeds[2].take(near), where=gap < first)
            np.minimum(second, np.maximum(first, gap), out=second)
            np.minimum(first, gap, out=first)
    return np.sqrt(first), np.sqrt(second), identity


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number, uniformly between `low` and `high`."""
    return float(rng.uniform(low, high))


def colour(rng: np.random.Generator, mean: Sequence[float], deviation: float) -> Array:
    """Draw an RGB colour, float32 (3, 1, 1): brightness and hue vary by `deviation` each."""
    mixed = np.asarray(mean) + deviation * (rng.standard_normal() + 0.5 * rng.standard_normal(3))
    return np.clip(mixed, 0, 1).astype(np.float32)[:, np.newaxis, np.newaxis]


def _local(where: Plane, centre: Point, angle: float) -> tuple[Array, Array]:
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x, y = where.x - np.float32(centre[0]), where.y - np.float32(centre[1])
    return cosine * x + sine * y, cosine * y - sine * x


@cache
def _spline(edge: int, cells: int) -> Array:
    position = (np.arange(edge) + 0.5) * cells / edge
    first = position.astype(int)
    t = position - first
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    )
    basis = np.zeros((edge, cells + 3), np.float32)
    for tap, weight in enumerate(weights / 6):
        basis[np.arange(edge), first + tap] = weight
    basis.flags.writeable = False
    return basis
