"""Your own tables: CSV and Parquet by pyarrow, and NumPy's arrays, whole or batch by batch."""

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet

from workbench.core.config import ConfigError, located, nearest
from workbench.datasets.readers import one_line
from workbench.datasets.tables.base import Table
from workbench.datasets.tables.config import FileConfig
from workbench.datasets.tables.frame import FrameTable

# Share of the free memory that a table may take.
SHARE = 1 / 4
# How much longer a text is than its compressed form, and columns than their text.
INFLATION, GROWTH = 8, 2
# Bytes of a CSV file that are parsed at once, and of each Parquet column that are read.
CHUNK, BUFFER = 2**22, 2**20


def build(config: FileConfig) -> Table:
    """The table in a file.

    Raises:
      ConfigError: when it is missing, of an unknown kind, or damaged.
    """
    with located("dataset"):
        check(config)
    path = Path(config.path).expanduser()
    with one_line(config.path):
        table = KINDS[_kind(path)](path, config)
    if isinstance(table, _FileTable):
        limit = SHARE * psutil.virtual_memory().available
        table.streamed = table.size > limit if config.stream is None else config.stream
    return table


def check(config: FileConfig) -> None:
    """Whether a configuration's file is there and of a known kind.

    Raises:
      ConfigError: when it is not.
    """
    if not config.path:
        raise ConfigError(
            f"path is empty: name a table ({', '.join(KINDS)}), as in dataset.path=FILE"
        )
    path = Path(config.path).expanduser()
    if not path.exists():
        beside = [file.name for file in path.parent.glob("*")]
        raise ConfigError(f"path={config.path} is not there{nearest(path.name, beside)}")
    if _kind(path) not in KINDS:
        raise ConfigError(f"path={config.path} is of no known kind: {', '.join(KINDS)}")
    if path.is_dir() and not _parts(path):
        raise ConfigError(f"path={config.path} is a folder without .parquet files")


def _kind(path: Path) -> str:
    if path.is_dir():
        return ".parquet"
    return ".csv.gz" if path.name.endswith(".csv.gz") else path.suffix


def _parts(path: Path) -> list[str]:
    """The files of a Parquet table, in order."""
    return [str(file) for file in sorted(path.rglob("*.parquet"))] if path.is_dir() else [str(path)]


class _FileTable(Table):
    """A table that can be read batch by batch.

    Attributes:
      size: bytes that its rows would take in memory, roughly.
    """

    size: int

    def __init__(self, path: Path):
        self.path, self.name = path, path.name

    def frame(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        with one_line(str(self.path)):
            return self._frame(list(columns or self.columns))

    def batches(self, rows: int, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        with one_line(str(self.path)):
            yield from self._batches(rows, list(columns or self.columns))

    @abstractmethod
    def _frame(self, columns: list[str]) -> pd.DataFrame: ...

    @abstractmethod
    def _batches(self, rows: int, columns: list[str]) -> Iterator[pd.DataFrame]: ...


class ParquetTable(_FileTable):
    """Parquet files of the same columns; folders named KEY=VALUE are columns, too."""

    def __init__(self, path: Path, config: FileConfig):
        super().__init__(path)
        base = str(path) if path.is_dir() else None
        try:
            self._data = pa.dataset.dataset(
                _parts(path), format="parquet", partitioning="hive", partition_base_dir=base
            )
        except pa.ArrowInvalid:
            raise ConfigError(f"{path} is damaged or no Parquet file; get it again") from None
        self.size = 8 * self._data.count_rows() * len(self.columns)

    @property
    def columns(self) -> list[str]:
        return list(self._data.schema.names)

    def _frame(self, columns: list[str]) -> pd.DataFrame:
        return self._data.to_table(columns=columns).to_pandas(split_blocks=True)

    def _batches(self, rows: int, columns: list[str]) -> Iterator[pd.DataFrame]:
        for part in self._data.get_fragments():
            keys = pa.dataset.get_partition_keys(part.partition_expression)
            stored = [name for name in columns if name not in keys]
            # By little buffers: a scanner of data sets holds whole groups of rows, ahead of time.
            file = pa.parquet.ParquetFile(part.path, buffer_size=BUFFER, pre_buffer=False)
            for batch in file.iter_batches(rows, columns=stored):
                frame = batch.select(stored).to_pandas(split_blocks=True)
                yield frame.assign(**keys)[columns] if keys else frame


class CsvTable(_FileTable):
    """Rows of text under a header."""

    def __init__(self, path: Path, config: FileConfig):
        super().__init__(path)
        self._parse = pa.csv.ParseOptions(delimiter=config.separator)
        with self._counting(lambda: self._open(threads=False)):
            self._schema = self._open().schema
        packed = INFLATION if path.suffix == ".gz" else 1
        self.size = GROWTH * packed * path.stat().st_size

    @property
    def columns(self) -> list[str]:
        return list(self._schema.names)

    def _open(self, threads: bool = True, **options: Any) -> pa.csv.CSVStreamingReader:
        reading = pa.csv.ReadOptions(block_size=CHUNK, use_threads=threads)
        return pa.csv.open_csv(self.path, reading, self._parse, _conversion(**options))

    def _read(self, columns: list[str], threads: bool = True) -> pa.Table:
        reading = pa.csv.ReadOptions(use_threads=threads)
        conversion = _conversion(include_columns=columns)
        return pa.csv.read_csv(self.path, reading, self._parse, conversion)

    def _frame(self, columns: list[str]) -> pd.DataFrame:
        with self._counting(lambda: self._read(columns, threads=False)):
            return self._read(columns).to_pandas(split_blocks=True)

    def _batches(self, rows: int, columns: list[str]) -> Iterator[pd.DataFrame]:
        types = {field.name: _wide(field.type) for field in self._schema}
        options: dict[str, Any] = {"include_columns": columns, "column_types": types}
        with self._counting(lambda: self._open(threads=False, **options).read_all()):
            for batch in self._open(**options):
                for start in range(0, batch.num_rows, rows):
                    yield batch.slice(start, rows).to_pandas(split_blocks=True)

    @contextmanager
    def _counting(self, read: Callable[[], Any]) -> Iterator[None]:
        """Says which row does not parse; `read` does the same by one thread, which counts rows."""
        try:
            yield
        except pa.ArrowInvalid as first:
            try:
                read()
            except pa.ArrowInvalid as error:
                raise self._refused(str(error).splitlines()[0]) from None
            raise self._refused(str(first).splitlines()[0]) from None

    def _refused(self, reason: str) -> ConfigError:
        found = re.match(r"(?:In CSV column #(\d+)|CSV parse error): Row #(\d+): (.*)", reason)
        if found is None:
            return ConfigError(f"{self.path} cannot be read: {reason}")
        column = f"{self.columns[int(found[1])]}: " if found[1] else ""
        return ConfigError(f"{self.path}, row {int(found[2]) - 1}: {column}{found[3]}")


class NpyTable(_FileTable):
    """An array in a file, `[n, p]` or of records, which is mapped into memory."""

    def __init__(self, path: Path, config: FileConfig):
        super().__init__(path)
        self._array = np.load(path, mmap_mode="r", allow_pickle=False)
        self.size = self._array.nbytes
        if self._array.dtype.names:
            self._names = list(self._array.dtype.names)
        elif self._array.ndim == 2:
            width = self._array.shape[1]
            self._names = config.columns or [f"x{number}" for number in range(1, width + 1)]
            if len(self._names) != width:
                raise ConfigError(
                    f"dataset.columns names {len(self._names)} of the {width} columns of {path}"
                )
        else:
            raise ConfigError(
                f"{path} holds an array of {self._array.ndim} axes, and rows have two"
            )

    @property
    def columns(self) -> list[str]:
        return list(self._names)

    def _frame(self, columns: list[str]) -> pd.DataFrame:
        return self._rows(self._array, columns)

    def _batches(self, rows: int, columns: list[str]) -> Iterator[pd.DataFrame]:
        for start in range(0, len(self._array), rows):
            yield self._rows(self._array[start : start + rows], columns)

    def _rows(self, array: np.ndarray, columns: list[str]) -> pd.DataFrame:
        if array.dtype.names:
            return pd.DataFrame({name: np.array(array[name]) for name in columns})
        places = [self._names.index(name) for name in columns]
        return pd.DataFrame(
            dict(zip(columns, np.array(array)[:, places].T, strict=True)), copy=False
        )


def read_npz(path: Path, config: FileConfig) -> FrameTable:
    """Arrays by name: each `[n]` is a column, and each `[n, p]` columns NAME1 to NAMEp."""
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    lengths = {name: len(array) if array.ndim in (1, 2) else None for name, array in found.items()}
    if None in lengths.values() or len(set(lengths.values())) > 1:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in found.items())
        raise ConfigError(f"{path} holds arrays that are no columns of one table: {shapes}")
    columns: dict[str, np.ndarray] = {}
    for name, array in found.items():
        if array.ndim == 1:
            columns[name] = array
        else:
            columns |= {f"{name}{number}": part for number, part in enumerate(array.T, 1)}
    return FrameTable(pd.DataFrame(columns), path.name)


def _conversion(**options: Any) -> pa.csv.ConvertOptions:
    return pa.csv.ConvertOptions(strings_can_be_null=True, **options)


def _wide(kind: pa.DataType) -> pa.DataType:
    """What takes the values of later rows too, where the first ones were whole or missing."""
    return pa.float64() if pa.types.is_integer(kind) or pa.types.is_null(kind) else kind


KINDS: dict[str, Callable[[Path, FileConfig], Table]] = {
    ".csv": CsvTable,
    ".csv.gz": CsvTable,
    ".parquet": ParquetTable,
    ".npz": read_npz,
    ".npy": NpyTable,
}
