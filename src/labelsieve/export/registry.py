"""The names of the export formats.

An entry is a function ``(source: Path, out: Path, **options) -> list[Path]`` that reads a folder
which labelsieve wrote (a saved classifier, or a finished scan) and returns the files it wrote. Its
keyword-only parameters are its options, with their defaults; `labelsieve export` sets them with
``--param NAME=VALUE``.
"""

from __future__ import annotations

from ..core.registry import Registry

EXPORTS = Registry(
    "export format",
    {
        "weights": "labelsieve.export.weights:export_weights",
        "onnx": "labelsieve.export.onnx:export_onnx",
        "csv": "labelsieve.export.csv:export_csv",
        "cleanlab": "labelsieve.export.cleanlab:export_cleanlab",
        "fiftyone": "labelsieve.export.fiftyone:export_fiftyone",
        "label-studio": "labelsieve.export.label_studio:export_label_studio",
        "hf": "labelsieve.export.hf:export_hf",
    },
)
