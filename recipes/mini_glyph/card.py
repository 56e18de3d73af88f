"""The model card, filled in with the figures that were measured."""

from pathlib import Path

_CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: zero-shot-image-classification
---

# mini-glyph

A very small CLIP ({parameters:,} parameters, images of 32 x 32, 32 text tokens) that reads single
rendered characters. labelsieve ships it so that examples, tests and the first run need no download.
It is an imperfect prior by design: useful for trying out noisy-label methods, not for reading text.

## Training data

Only glyphs (digits and Latin letters) rendered from fonts that ship with matplotlib (DejaVu, STIX,
Computer Modern), with random stroke width, bending, colours and noise, and captions written by the
recipe. No handwriting and no photograph was used. Recipe: `recipes/mini_glyph` in the labelsieve
repository; command and seed in `metrics.json`.

## Use

```python
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

model = CLIPModel.from_pretrained(directory)
tokenizer = AutoTokenizer.from_pretrained(directory)
processor = AutoImageProcessor.from_pretrained(directory)
```

Name digits by words ("seven"), letters by their case ("small b", "capital B"). Captions also named
eleven colours ("a red seven on a white background"); how well those are told apart was not
measured. Crop images to the character first: the model was mostly shown characters that fill their
image. Any text can be encoded, but words outside the recipe's captions mean nothing to the model.

## Measured

Figures of the last training step, by `recipes/mini_glyph/evaluate.py`.

{table}

The handwritten digits are scikit-learn's `load_digits` (1,797 images of 8 x 8), never trained on.
Their labels score this table and fit the linear probe within each fold. A few whole runs of the
recipe were compared while it was written, and this table was seen for them.
"""


def write_card(path: Path, metrics: dict) -> None:
    """Write the model card.

    Parameters
    ----------
    path : Path
        The README.md to write.
    metrics : dict
        As saved in metrics.json.
    """
    held_out, written = metrics["held_out_fonts"], metrics["handwritten_digits"]
    rows = [
        ("held-out fonts, 62 glyphs, zero-shot", held_out["glyphs_62_way"]),
        ("held-out fonts, 10 digits, zero-shot", held_out["digits_10_way"]),
        *((f"handwritten digits, `{t}`", value) for t, value in written["zero_shot"].items()),
        ("handwritten digits, these templates averaged", written["zero_shot_ensemble"]),
        ("handwritten digits, linear probe, 5-fold", written["linear_probe_5_fold"]),
        ("the same probe on the raw 8 x 8 pixels", written["linear_probe_5_fold_raw_pixels"]),
    ]
    lines = [
        "| what | accuracy |",
        "|---|---|",
        *(f"| {name} | {value:.3f} |" for name, value in rows),
    ]
    card = _CARD.format(parameters=metrics["parameters"], table="\n".join(lines))
    path.write_text(card)
