"""The points of a grid over a space, numbered, however many there are: none is made before it is asked for."""

import math

import numpy as np

from fmcore.hyper.params import GROUPS, INIT_NUMBERS
from fmcore.tuning.space import Range

POINTS = 5  # of a range of numbers
GOLDEN = (math.sqrt(5) - 1) / 2


class Grid:
    """All combinations of the grids of a space's dimensions, an init method's number only beside its method."""

    def __init__(self, space):
        self._axes = _axes(space)
        self.size = math.prod(len(axis) for axis in self._axes)
        self._step = next(
            step for step in range(max(1, round(self.size * GOLDEN)), self.size + 1) if math.gcd(step, self.size) == 1
        )

    def point(self, number):
        """Name -> value of one point, number from 0 to size - 1; a few points in a row lie all over the grid."""
        rest, values = number * self._step % self.size, {}
        for axis in reversed(self._axes):
            rest, place = divmod(rest, len(axis))
            values.update(axis[place])
        return values


def points(dimension):
    """The values of a dimension that a grid holds: all choices, or up to POINTS of a range."""
    if not isinstance(dimension, Range):
        return list(dimension.values)
    spread = np.geomspace if dimension.log else np.linspace
    found = spread(dimension.low, dimension.high, POINTS).tolist()
    found[0], found[-1] = dimension.low, dimension.high  # not as rounding has them
    return sorted({round(point) for point in found}) if dimension.integer else found


def _axes(space):
    """Lists of name -> value, of which a point takes one each: of an init method and its number together."""
    left, axes = dict(space.dimensions), []
    for group in GROUPS:
        methods = left.pop(f"{group}_init_method", None)
        numbers = {method: left.pop(f"{group}_init_{number}", None) for method, number in INIT_NUMBERS.items()}
        if methods is None:
            axes += [
                _axis(f"{group}_init_{INIT_NUMBERS[method]}", number) for method, number in numbers.items() if number
            ]
            continue
        axes.append(
            [
                {f"{group}_init_method": method, **number}
                for method in methods.values
                for number in (
                    _axis(f"{group}_init_{INIT_NUMBERS[method]}", numbers[method]) if numbers.get(method) else [{}]
                )
            ]
        )
    return [_axis(name, dimension) for name, dimension in left.items()] + axes


def _axis(name, dimension):
    return [{name: value} for value in points(dimension)]
