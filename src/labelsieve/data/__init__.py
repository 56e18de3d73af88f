"""Layer 1: labelled images, their readers, label noise, splits and batches."""

from .class_names import read_class_spec
from .decode import decode
from .images import LabeledImages
from .load import load_images
from .noise import NOISE, NoisyLabels, inject_noise
from .noise_matrix import read_noise_matrix
from .sources import ImageSource
from .splits import batches, few_shot, stratified_split
from .write import write_noisy

__all__ = [
    "NOISE",
    "ImageSource",
    "LabeledImages",
    "NoisyLabels",
    "batches",
    "decode",
    "few_shot",
    "inject_noise",
    "load_images",
    "read_class_spec",
    "read_noise_matrix",
    "stratified_split",
    "write_noisy",
]
