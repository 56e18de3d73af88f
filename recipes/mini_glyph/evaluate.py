"""What the trained model can do: held-out fonts, then handwritten digits it never saw."""

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from .augment import make_scene
from .captions import DIGIT_NAMES
from .fonts import GLYPHS
from .model import encode_images, encode_texts, normalise
from .render import GlyphPool

TEMPLATES = (
    "{}",
    "a photo of a {}.",
    "a photo of the digit {}.",
    "a handwritten {}.",
    "the digit {}.",
    'a photo of the number: "{}".',
)
_HELD_OUT_IMAGES = 4000


@torch.no_grad()
def image_features(model: CLIPModel, pixels: torch.Tensor) -> torch.Tensor:
    """Return unit image features of normalised pixels, in batches."""
    return torch.cat([encode_images(model, part) for part in pixels.split(256)])


@torch.no_grad()
def class_features(model: CLIPModel, tokenizer, names, templates) -> torch.Tensor:
    """Return the class text features, averaged over templates."""
    sets = [encode_texts(model, tokenizer, [t.format(name) for name in names]) for t in templates]
    return torch.nn.functional.normalize(torch.stack(sets).mean(dim=0), dim=-1)


def accuracy(images: torch.Tensor, classes: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of images whose nearest class is their label, rounded to 4 digits."""
    return round(((images @ classes.T).argmax(dim=1) == labels).float().mean().item(), 4)


def score_held_out(model: CLIPModel, tokenizer, pool: GlyphPool, seed: int = 1) -> dict[str, float]:
    """Read augmented glyphs of held-out fonts, all 62 and the digits alone."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(pool), (_HELD_OUT_IMAGES,), generator=generator)
    scene = make_scene(pool.fields[rows], pool.glyphs[rows], generator)
    images = image_features(model, normalise(scene.pixels))
    letters = [f"small {g}" if g.islower() else f"capital {g}" for g in GLYPHS[10:]]
    names = [*DIGIT_NAMES, *letters]
    classes = class_features(model, tokenizer, names, ["a photo of a {}."])
    digit = scene.glyphs < 10
    return {
        "glyphs_62_way": accuracy(images, classes, scene.glyphs),
        "digits_10_way": accuracy(images[digit], classes[:10], scene.glyphs[digit]),
    }


def probe(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the 5-fold accuracy of a logistic regression, shuffled and stratified."""
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return round(float(cross_val_score(head, features, labels, cv=folds).mean()), 4)


def score_handwritten(directory) -> dict[str, object]:
    """Evaluate a saved model on scikit-learn's 1,797 handwritten digits.

    The images go through the saved image processor as 8 x 8 pictures; no label is used but for
    scoring and, within each fold, for the linear probe.
    """
    model = CLIPModel.from_pretrained(directory).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    processor = AutoImageProcessor.from_pretrained(directory)
    digits = load_digits()
    grey = (digits.images * (255 / 16)).round().astype(np.uint8)
    pictures = [Image.fromarray(picture).convert("RGB") for picture in grey]
    images = image_features(model, processor(pictures, return_tensors="pt")["pixel_values"])
    labels = torch.from_numpy(digits.target)
    single = {
        template: accuracy(
            images, class_features(model, tokenizer, DIGIT_NAMES, [template]), labels
        )
        for template in TEMPLATES
    }
    ensemble = class_features(model, tokenizer, DIGIT_NAMES, TEMPLATES)
    return {
        "zero_shot": single,
        "zero_shot_ensemble": accuracy(images, ensemble, labels),
        "linear_probe_5_fold": probe(images.numpy(), digits.target),
        "linear_probe_5_fold_raw_pixels": probe(digits.data, digits.target),
    }
