"""Estimates the colours of subject and background at low resolution. Correcting pixels is not here.

F and B are unknown in I = a·F + b·B, with b = 1 - a. A cell of the grid can separate them if it has
pure samples, or if alpha varies in it. All other cells rely on the cells around them.
"""

import numpy as np
from numpy.typing import NDArray

GRID = 256  # samples a side; the finest level that is solved has half as many cells

_GUESS_WEIGHT = 0.06
"""Weight of the colours around a cell. A cell's own samples weigh up to 1. More follows the samples
less; with less, texture that happens to vary as alpha does is taken for a change of colour."""

_TINY = 1e-4  # the weight at the top level, which has nothing around it; avoids division by 0
_GREY = 127.5
_WHITE = 255

# Far from pure samples the coarse levels decide. There each cell also learns from its neighbours,
# several times over: these grids are small enough.
_ROUNDS = 4
_ROUNDS_UP_TO = 32  # cells a side

_NOISE = 4.0  # grey levels: no surface is more even than its grain and JPEG's traces

Planes = NDArray[np.float32]


def layer_colours(image: Planes, alpha: Planes, seen: Planes) -> Planes:
    """Solve for both colours from the coarsest level to the finest.

    Args:
        image: (3, GRID, GRID), 0 to 255.
        alpha: (GRID, GRID), 0 to 1.
        seen: (GRID, GRID), 0 to 1: the source's own alpha, a weight.

    Returns:
        (2, 3, GRID, GRID): the subject's colours and the background's, 0 to 255.

    Source:
        Germer et al. 2020 (arXiv:2006.14970): each level fits the equation, and stays near the
        coarser level's colours where the equation leaves a choice. Their cells hold one sample.
        Ours hold the normal equations of all their samples, so a cell in which alpha varies
        separates F and B by itself.
    """
    *finer, top = _pyramid(_normal_equations(image, alpha, seen))
    colours = _solved(top, np.full((2, 3, 1, 1), _GREY, np.float32), _TINY)
    for level in reversed(finer):
        colours = _solved(level, _doubled(colours), _GUESS_WEIGHT)
        for _ in range(_ROUNDS if level.shape[-1] <= _ROUNDS_UP_TO else 0):
            colours = _solved(level, _neighbours(colours), _GUESS_WEIGHT)
    return _doubled(colours)


def colour_spreads(image: Planes, alpha: Planes, seen: Planes, colours: Planes) -> Planes:
    """Return how far nearly pure samples are from the colours that `layer_colours` returned.

    Returns:
        (2, 1, GRID, GRID): the standard deviation of the subject and of the background.
    """
    unexplained = image - alpha * colours[0]
    unexplained -= (1 - alpha) * colours[1]
    variance = np.einsum("ijk,ijk->jk", unexplained, unexplained) / np.float32(3)
    weighted = np.empty((2, 2, GRID, GRID), np.float32)
    for share, (values, weights) in zip((alpha, 1 - alpha), weighted, strict=True):
        np.multiply((share * share) ** 2, seen, out=weights)
        np.multiply(weights, variance, out=values)

    *finer, top = _pyramid(weighted)
    filled = top[:, :1] / (top[:, 1:] + np.float32(_TINY))
    for level in reversed(finer):
        filled = _doubled(filled)
        filled *= _GUESS_WEIGHT
        filled += level[:, :1]
        filled /= level[:, 1:] + _GUESS_WEIGHT
    filled += _NOISE**2
    return _doubled(np.sqrt(filled, out=filled))


def _normal_equations(image: Planes, alpha: Planes, seen: Planes) -> Planes:
    """Return each sample's normal equations: the least squares of I - (a·F + b·B).

    Returns:
        (9, GRID, GRID): aa, ab, bb, then three colours of aI and three of bI, all weighted.
    """
    rest = 1 - alpha
    # Mattes are least exact where they are soft, so nearly pure samples weigh more. A sample of
    # alpha 0.5 still weighs a quarter: a veil may have no others.
    weights = alpha * alpha + rest * rest
    weights *= weights
    weights *= seen
    of_subject, of_background = weights * alpha, weights * rest
    equations = np.empty((9, GRID, GRID), np.float32)
    np.multiply(of_subject, alpha, out=equations[0])
    np.multiply(of_subject, rest, out=equations[1])
    np.multiply(of_background, rest, out=equations[2])
    np.multiply(of_subject, image, out=equations[3:6])
    np.multiply(of_background, image, out=equations[6:])
    return equations


def _solved(level: Planes, guess: Planes, guess_weight: float) -> Planes:
    """Solve each cell's two equations, near the guess: (2, 3, n, n)."""
    diagonal = level[:3:2] + guess_weight  # aa, bb
    determinant = diagonal[0] * diagonal[1] - level[1] * level[1]
    right = guess * guess_weight
    right += level[3:].reshape(guess.shape)
    solved: Planes = right * (diagonal[::-1] / determinant)[:, None]
    right *= level[1] / determinant
    solved -= right[::-1]
    return solved.clip(0, _WHITE, out=solved)


def _pyramid(finest: Planes) -> list[Planes]:
    """Halve the last two axes down to one cell. The result leaves `finest` out."""
    levels = [_halved(finest)]
    while levels[-1].shape[-1] > 1:
        levels.append(_halved(levels[-1]))
    return levels


def _halved(level: Planes) -> Planes:
    rows = level[..., 0::2, :] + level[..., 1::2, :]
    mean: Planes = (rows[..., 0::2] + rows[..., 1::2]) * np.float32(0.25)
    return mean


def _neighbours(level: Planes) -> Planes:
    """Return the mean of each cell's four neighbours."""
    padded = _padded(level)
    total = padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    total += padded[..., :-2, 1:-1]
    total += padded[..., 2:, 1:-1]
    total *= np.float32(0.25)
    return total


def _doubled(level: Planes) -> Planes:
    """Enlarge twofold, bilinearly."""
    planes, values, height, width = level.shape
    padded = _padded(level)
    own = padded[:, :, 1:-1] * 0.75
    rows = np.empty((planes, values, 2 * height, width + 2), np.float32)
    np.add(own, padded[:, :, :-2] * 0.25, out=rows[:, :, 0::2])
    np.add(own, padded[:, :, 2:] * 0.25, out=rows[:, :, 1::2])
    own = rows[..., 1:-1] * 0.75
    doubled = np.empty((planes, values, 2 * height, 2 * width), np.float32)
    np.add(own, rows[..., :-2] * 0.25, out=doubled[..., 0::2])
    np.add(own, rows[..., 2:] * 0.25, out=doubled[..., 1::2])
    return doubled


def _padded(level: Planes) -> Planes:
    """Repeat the outermost cells once. `np.pad` takes ten times as long with small grids."""
    around = np.arange(-1, level.shape[-1] + 1).clip(0, level.shape[-1] - 1)
    return level.take(around, axis=-2).take(around, axis=-1)
