"""What every table can do, whether it fits into memory or not."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class Table(ABC):
    """Rows with named columns.

    Attributes:
      name: what it is called.
      formula: what is usually explained by what in it; "" where nobody said.
      family: the usual distribution of the response; "" where nobody said.
      streamed: whether its rows are to be read batch by batch, each time they are needed.
    """

    name: str
    formula: str = ""
    family: str = ""
    streamed: bool = False

    @property
    @abstractmethod
    def columns(self) -> list[str]:
        """The columns' names, in order."""

    @abstractmethod
    def frame(self, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """All rows, of all columns or of those that are named."""

    @abstractmethod
    def batches(self, rows: int, columns: Sequence[str] | None = None) -> Iterator["pd.DataFrame"]:
        """All rows in order, at most so many at once; memory holds few batches."""
