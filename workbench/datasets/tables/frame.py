"""A pandas data frame as a table."""

from collections.abc import Iterator, Sequence

import pandas as pd

from workbench.core.config import ConfigError
from workbench.datasets.tables.base import Table


class FrameTable(Table):
    """Rows that are in memory.

    Args:
      frame: of any index, which does not count as a column.
      name: what the table is called.
      formula: what is usually explained by what in it.
      family: the usual distribution of the response.

    Raises:
      ConfigError: for columns whose names are no words.
    """

    def __init__(
        self, frame: pd.DataFrame, name: str = "data", formula: str = "", family: str = ""
    ):
        self.name, self.formula, self.family = name, formula, family
        self._frame = frame
        if other := [column for column in frame.columns if not isinstance(column, str)]:
            raise ConfigError(f"{name}: the column {other[0]!r} needs a name that is a word")

    @property
    def columns(self) -> list[str]:
        return list(self._frame.columns)

    def frame(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        return self._frame if columns is None else self._frame[list(columns)]

    def batches(self, rows: int, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        frame = self.frame(columns)
        for start in range(0, len(frame), rows):
            yield frame.iloc[start : start + rows]
