"""A regression on a Parquet file that is larger than what it may take of memory, alone.

Takes settings as one JSON argument and prints what it measured as JSON: `rows`, `columns`. The
file is written first, which is not timed, and removed at the end. Memory is the process' peak.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WRITER = """
import sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
path, rows, columns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
draws, names = np.random.default_rng(0), [f"x{i}" for i in range(columns)]
effects = draws.standard_normal(columns) / columns**0.5
writer, left = None, rows
while left:
    count = min(left, 1_000_000)
    x = draws.standard_normal([count, columns], np.float32)
    y = (draws.random(count, np.float32) < 1 / (1 + np.exp(-(x @ effects)))).astype(np.float32)
    table = pa.table(dict(zip([*names, "y"], [*x.T, y])))
    plain = {"compression": "none", "use_dictionary": False}
    writer = writer or pq.ParquetWriter(path, table.schema, **plain)
    writer.write_table(table)
    left -= count
writer.close()
"""


def main() -> None:
    settings = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory(dir=settings.get("folder")) as folder:
        path = Path(folder) / "rows.parquet"
        size = [str(settings["rows"]), str(settings["columns"])]
        subprocess.run([sys.executable, "-c", WRITER, str(path), *size], check=True)
        print(json.dumps(measured(path, settings["rows"], settings["columns"])))


def measured(path: Path, rows: int, columns: int) -> dict[str, float]:
    import workbench
    from workbench.datasets.tables.config import FileConfig
    from workbench.datasets.tables.files import build

    formula = "y ~ " + " + ".join(f"x{number}" for number in range(columns))
    started = time.perf_counter()
    table = build(FileConfig(path=str(path), stream=True))
    fit = workbench.fit(formula, table, family="binomial")
    seconds = time.perf_counter() - started
    return {
        "million rows/s": rows / seconds / 1e6,
        "seconds": seconds,
        "passes": float(fit.estimate.iterations),
        "GiB of memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


if __name__ == "__main__":
    main()
