"""Preprocessing in words and numbers, for programs without transformers."""

from __future__ import annotations

from typing import Any

from PIL import Image


def describe_preprocessing(processor: Any) -> dict[str, Any]:
    """Steps from a decoded image to `pixel_values`, in order, and the processor's own settings.

    Parameters
    ----------
    processor : transformers image processor
        Its settings decide the steps.

    Returns
    -------
    dict
        ``steps``, a list of mappings with the name of each step and its numbers, and
        ``processor``, all settings under the names of transformers.
    """
    settings = {k: v for k, v in processor.to_dict().items() if _plain(v)}
    steps: list[dict[str, Any]] = [{"step": "convert", "mode": "RGB"}]
    if settings.get("do_resize"):
        way = Image.Resampling(int(settings.get("resample") or 0)).name.lower()
        steps.append({"step": "resize", "size": settings.get("size"), "interpolation": way})
    if settings.get("do_center_crop"):
        steps.append({"step": "center_crop", "size": settings.get("crop_size")})
    if settings.get("do_rescale"):
        steps.append({"step": "rescale", "factor": settings.get("rescale_factor")})
    if settings.get("do_normalize"):
        names = {"mean": "image_mean", "std": "image_std"}
        steps.append({"step": "normalize", **{k: settings.get(v) for k, v in names.items()}})
    return {"steps": [*steps, {"step": "to_channels_first"}], "processor": settings}


def _plain(value: Any) -> bool:
    """Whether a setting is plain JSON and says something."""
    if isinstance(value, dict):
        return all(_plain(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_plain(item) for item in value)
    return isinstance(value, bool | int | float | str)
