"""A column of a table: its name, its kind, and the features that it has whatever its values."""

from dataclasses import dataclass

NUMERIC, LOG, DATE, CATEGORICAL, LIST = FEATURES = ("numeric", "log", "date", "categorical", "list")
LABEL, WEIGHT, ID, IGNORED = OTHERS = ("label", "weight", "id", "ignored")
NUMBERS = (NUMERIC, LOG)  # of FEATURES, those that can have buckets
DATE_PARTS = ("years", "sin(year)", "cos(year)", "sin(week)", "cos(week)", "sin(day)", "cos(day)")


@dataclass(frozen=True)
class Column:
    """A column of the tables that a model was trained on.

    kind: one of FEATURES, or of OTHERS for a column that is no feature.
    separator: of a list, between the values in a field of text.
    mean: of a list, whether each of the n values of a row has the value 1/n instead of 1.
    """

    name: str
    kind: str
    separator: str = ""
    mean: bool = False

    @property
    def is_feature(self) -> bool:
        """Return whether the column makes features."""
        return self.kind in FEATURES

    @property
    def is_valued(self) -> bool:
        """Return whether each of its values is a feature."""
        return self.kind in (CATEGORICAL, LIST)

    @property
    def is_number(self) -> bool:
        """Return whether its fields are read as numbers."""
        return self.kind in (*NUMBERS, WEIGHT)

    @property
    def own(self) -> tuple[str, ...]:
        """Return the names of the features that it has by itself, besides those of its values."""
        if self.kind in NUMBERS:
            return (self.name,)
        return tuple(f"{self.name}:{part}" for part in DATE_PARTS) if self.kind == DATE else ()
