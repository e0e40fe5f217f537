"""The numbered points of a grid over a space, however many there are: each is made only when it is needed."""

import math

import numpy as np

from fmcore.hyper.groups import GROUPS, INIT_NUMBERS
from fmcore.tuning.dimensions import Range

POINTS = 5  # of a range of numbers
GOLDEN = (math.sqrt(5) - 1) / 2


class Grid:
    """All combinations of the values of a space's dimensions; an init method's number stands beside its method only."""

    def __init__(self, space):
        self._axes = _axes(space)
        self.size = math.prod(len(axis) for axis in self._axes)
        self._step = next(
            step for step in range(max(1, round(self.size * GOLDEN)), self.size + 1) if math.gcd(step, self.size) == 1
        )

    def point(self, number):
        """Return name -> value of point `number`, from 0 to size - 1; consecutive points are spread over the grid."""
        rest, values = number * self._step % self.size, {}
        for axis in reversed(self._axes):
            rest, place = divmod(rest, len(axis))
            values.update(axis[place])
        return values


def points(dimension):
    """Return the values of a dimension in a grid: all choices, or up to POINTS of a range."""
    if not isinstance(dimension, Range):
        return list(dimension.values)
    spread = np.geomspace if dimension.log else np.linspace
    values = spread(dimension.low, dimension.high, POINTS).tolist()
    values[0], values[-1] = dimension.low, dimension.high  # exactly, not rounded
    return sorted({round(value) for value in values}) if dimension.integer else values


def _axes(space):
    """Return lists of name -> value; a point takes one of each list; an init method and its number stand together."""
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
