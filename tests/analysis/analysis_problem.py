"""Images, model and truth for the studies that train."""

from __future__ import annotations

import pandas as pd

from labelsieve.data import load_images
from problems import COLOURS, png


def write_table(folder, *, per_class=8, wrong=2):
    """A parquet table of plain colours with given labels, `wrong` of each class false."""
    names = list(COLOURS)
    rows = [
        {
            "image": {
                "bytes": png(tuple(min(255, c + 2 * i) for c in COLOURS[name])),
                "path": None,
            },
            "truth": name,
            "label": names[(k + 1) % 3] if i < wrong else name,
        }
        for k, name in enumerate(names)
        for i in range(per_class)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "colours.parquet"
    pd.DataFrame(rows).to_parquet(path, index=False)
    return path


def load(path, column="label"):
    return load_images(path, label_column=column)
