"""Layer 1: labelled images, their readers, label noise, splits and batches."""

from .class_names import read_class_spec
from .decode import decode
from .few_shot_noise import FewShotNoise, few_shot_noisy
from .images import LabeledImages
from .load import load_images
from .noise import NOISE, NoisyLabels, inject_noise
from .noise_matrix import read_noise_matrix
from .sources import ImageSource
from .splits import batches, few_shot, stratified_split
from .write import write_few_shot_noisy, write_noisy

__all__ = [
    "NOISE",
    "FewShotNoise",
    "ImageSource",
    "LabeledImages",
    "NoisyLabels",
    "batches",
    "decode",
    "few_shot",
    "few_shot_noisy",
    "inject_noise",
    "load_images",
    "read_class_spec",
    "read_noise_matrix",
    "stratified_split",
    "write_few_shot_noisy",
    "write_noisy",
]
