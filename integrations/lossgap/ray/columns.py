"""Which columns of a data set are inputs, targets and weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossgap.core.feeds.arrays import ArrayFeed
from lossgap.errors import DataError, InvalidArgumentError

# A column, or a structure of columns as the model takes its inputs: by name, or in order.
Columns = str | list[str] | tuple[str, ...] | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Roles:
    """The columns by what they are to the model.

    Attributes:
        x: Inputs.
        y: Targets; ``None`` for models that compute their loss from the inputs.
        sample_weight: Weights of the samples; ``None`` without.
        class_weight: Weights of the classes, as ``fit`` takes them.
        batch_size: The training's batch size.
    """

    x: Columns
    y: Columns | None
    sample_weight: Columns | None
    class_weight: Mapping[int, float] | None
    batch_size: int | None

    def __post_init__(self) -> None:
        """Make sure that the roles name columns.

        Raises:
            InvalidArgumentError: They don't.
        """
        for role in ("x", "y", "sample_weight"):
            given = getattr(self, role)
            if (role == "x" or given is not None) and not all(
                isinstance(name, str) for name in _names(given)
            ):
                raise InvalidArgumentError(
                    f"Expected `{role}` to be the name of a column, a list of names, or a dict "
                    f"from the model's names to columns: {role}='{role}'. Received: "
                    f"{type(given).__name__}."
                )

    def names(self) -> list[str]:
        """Return the columns that are read, each once."""
        named = [*_names(self.x), *_names(self.y), *_names(self.sample_weight)]
        return list(dict.fromkeys(named))

    def check(self, present: list[str]) -> None:
        """Make sure that the data set has the columns.

        Raises:
            DataError: It doesn't.
        """
        missing = [name for name in self.names() if name not in present]
        if missing:
            raise DataError(
                f"The data set has no column {missing[0]!r}. It has: {', '.join(present)}. Say "
                "which columns to take: x='image', y='label', sample_weight='weight', or lists "
                "or dicts of columns."
            )

    def feed(self, batch: Mapping[str, np.ndarray]) -> ArrayFeed:
        """Return rows of the data set as samples.

        Raises:
            DataError: They can't be measured.
        """
        x, y, weight = (_taken(columns, batch) for columns in (self.x, self.y, self.sample_weight))
        return ArrayFeed(x, y, weight, class_weight=self.class_weight, batch_size=self.batch_size)


def _names(columns: Columns | None) -> Iterator[Any]:
    if isinstance(columns, Mapping):
        yield from columns.values()
    elif isinstance(columns, list | tuple):
        yield from columns
    elif columns is not None:
        yield columns


def _taken(columns: Columns | None, batch: Mapping[str, np.ndarray]) -> Any:
    if columns is None:
        return None
    if isinstance(columns, str):
        return _numbers(columns, batch[columns])
    if isinstance(columns, Mapping):
        return {name: _numbers(column, batch[column]) for name, column in columns.items()}
    arrays = [_numbers(column, batch[column]) for column in columns]
    return arrays if isinstance(columns, list) else tuple(arrays)


def _numbers(column: str, values: np.ndarray) -> np.ndarray:
    """Return a column that a model can take, which may be written to."""
    if values.dtype == object and not all(isinstance(value, str) for value in values):
        raise DataError(
            f"The column {column!r} holds values of different shapes or kinds. Pad or convert "
            "them with dataset.map_batches(...), so that each row has an array of one shape."
        )
    return values
