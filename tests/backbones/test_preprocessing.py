"""The short way through Pillow gives the processor's pixels; smaller decoding hardly matters."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.efficientnet.image_processing_pil_efficientnet import (
    EfficientNetImageProcessorPil,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from labelsieve.backbones import load_backbone
from labelsieve.backbones.pixels import TrainingPixels
from labelsieve.backbones.preprocessing import Preprocessing
from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images
from labelsieve.data.decode import decode
from problems import write_colour_tree

KNOWN = {
    "clip": CLIPImageProcessorPil(),
    "small clip": CLIPImageProcessorPil(
        size={"shortest_edge": 33}, crop_size={"height": 32, "width": 32}
    ),
    "siglip": SiglipImageProcessorPil(size={"height": 48, "width": 48}),
    "vit": ViTImageProcessorPil(),
    "convnext": ConvNextImageProcessorPil(),  # has a rule of its own and keeps it
}


def photo(height, width, seed=0):
    """A picture with the spectrum of natural images: amplitude falls with frequency."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    noise = np.fft.rfft2(rng.normal(size=(3, height, width)), axes=(1, 2))
    smooth = np.fft.irfft2(noise / np.maximum(frequency, 1 / width), s=(height, width), axes=(1, 2))
    smooth = (smooth - smooth.mean()) / smooth.std() * 50 + 128
    return Image.fromarray(smooth.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


@pytest.mark.parametrize("params", [{}, {"include_top": False, "rescale_offset": True}])
def test_training_refuses_a_preprocessing_that_it_cannot_cut_in_two(params, tmp_path):
    """Else it would see other pixels than prediction does."""
    size = {"height": 32, "width": 32}
    preprocessing = Preprocessing(EfficientNetImageProcessorPil(size=size, **params))
    images = load_images(write_colour_tree(tmp_path))
    with pytest.raises(InputError, match="does more than to resize, rescale and normalise"):
        TrainingPixels(images, preprocessing)


@pytest.mark.parametrize("name", KNOWN)
def test_resized_pixels_are_those_of_the_processor(name):
    ours = Preprocessing(KNOWN[name])
    assert (ours._direct is None) == (name == "convnext")
    rng = np.random.default_rng(0)
    for _ in range(12):
        height, width = rng.integers(20, 300, size=2)
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        wanted = ours.processor([image], return_tensors="np", do_rescale=False, do_normalize=False)
        assert np.array_equal(ours.resize([image]).numpy(), wanted["pixel_values"])
        torch.testing.assert_close(
            ours.normalize(ours.resize([image])), ours([image]), atol=2e-6, rtol=0
        )
    assert ours.in_halves


def test_a_processor_of_another_kind_is_left_alone():
    class Other:
        do_resize, resample = True, 3

        def __init__(self):
            self.size = {"shortest_edge": 8}

        def __call__(self, images, return_tensors, **options):
            return {"pixel_values": np.zeros((len(images), 3, 8, 8)) - 1.0}

    ours = Preprocessing(Other())
    assert ours._direct is None
    assert not ours.in_halves
    assert float(ours([photo(20, 20)]).max()) == -1.0


@pytest.mark.parametrize(
    ("side", "width", "factor"),
    [(64, 400, 4), (100, 400, 2), (151, 400, 1), (None, 400, 1), (64, 402, 2), (64, 401, 1)],
)
def test_a_large_jpeg_is_decoded_smaller_but_never_below_the_limit(side, width, factor):
    image = decode(jpeg(photo(300, width)), least_side=side)
    assert image.size == (width // factor, 300 // factor)


def test_other_formats_are_decoded_whole():
    buffer = io.BytesIO()
    photo(300, 400).save(buffer, "PNG")
    assert decode(buffer.getvalue(), least_side=32).size == (400, 300)


def test_smaller_decoding_changes_features_within_the_stated_tolerance():
    backbone = load_backbone("mini-glyph", device="cpu", dtype="float32")
    least = backbone.preprocessing.least_side
    assert least == 3 * 32
    for seed in range(5):
        data = jpeg(photo(400, 480, seed))
        images = [decode(data), decode(data, least_side=least)]
        assert images[1].size == (120, 100)
        whole, small = (backbone.encode_images(backbone.preprocess([i]))[0] for i in images)
        assert float(whole @ small) > 0.999
