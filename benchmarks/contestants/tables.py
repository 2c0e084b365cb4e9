"""A CSV file as columns of text: kapps' reader, or pyarrow alone.

    python benchmarks/contestants/tables.py kapps|pyarrow FILE.csv

Speaks the protocol of benchmarks/harness/worker.py; a unit is the file read once.
"""

from __future__ import annotations

import sys

from benchmarks.harness.worker import serve


def prepare():
    """The work: the file read so many times."""
    import pyarrow
    from pyarrow import csv

    from kapps.data.delimited import read_delimited

    reader, file = sys.argv[1:]
    names = csv.read_csv(file).column_names
    texts = csv.ConvertOptions(column_types=dict.fromkeys(names, pyarrow.string()))

    def work(units):
        for _ in range(units):
            if reader == "kapps":
                read_delimited(file)
            else:
                csv.read_csv(file, convert_options=texts)

    return work, {"versions": {"pyarrow": pyarrow.__version__}}


if __name__ == "__main__":
    serve(prepare)
