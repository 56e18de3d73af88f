import builtins

import pytest
from data_helpers import structs

from labelsieve.core.exceptions import InputError, MissingExtraError
from labelsieve.data import load_images


@pytest.fixture
def dataset():
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["dog", "cat"])
    )
    rows = {"image": structs(4).to_pylist(), "label": [1, 0, 0, 1]}
    return datasets.Dataset.from_dict(rows, features=features)


def check(images):
    assert images.class_names == ("dog", "cat")
    assert images.given_labels.tolist() == [1, 0, 0, 1]
    assert images.ids.tolist() == [f"img{i}.png" for i in range(4)]
    assert [images.image(i).getpixel((0, 0))[0] for i in range(4)] == [0, 1, 2, 3]
    assert images.location(0) is None


def test_in_memory(dataset):
    check(load_images(dataset))


def test_rows_that_were_selected(dataset):
    images = load_images(dataset.select([3, 1]))
    assert images.ids.tolist() == ["img3.png", "img1.png"]
    assert images.image(0).getpixel((0, 0)) == (3, 3, 3)


def test_saved_to_disk(dataset, tmp_path):
    dataset.save_to_disk(tmp_path / "saved")
    images = load_images(tmp_path / "saved")
    check(images)
    assert "saved (Hugging Face data set): images from column 'image'" in images.rule


def test_saved_splits(dataset, tmp_path):
    import datasets

    both = datasets.DatasetDict(train=dataset, test=dataset.select([0, 1]))
    both.save_to_disk(tmp_path / "saved")
    check(load_images(tmp_path / "saved"))
    assert len(load_images(tmp_path / "saved", split="test")) == 2
    with pytest.raises(InputError, match="no split 'dev'; choose one with split: test, train"):
        load_images(both, split="dev")


def test_written_as_parquet(dataset, tmp_path):
    dataset.to_parquet(tmp_path / "t.parquet")
    check(load_images(tmp_path / "t.parquet"))


def test_bad_columns_and_splits(dataset):
    with pytest.raises(InputError, match="no label column found"):
        load_images(dataset.remove_columns("label"))
    with pytest.raises(InputError, match="the data have no splits; leave out split='test'"):
        load_images(dataset, split="test")
    numbered = dataset.add_column("n", [1, 2, 3, 4])
    with pytest.raises(InputError, match=r"column 'n' of type .*int64.* holds no images; name"):
        load_images(numbered, image_column="n")


def test_hub_id_offline(monkeypatch):
    datasets = pytest.importorskip("datasets")
    seen = []

    def refuse(name):
        seen.append(datasets.config.HF_HUB_OFFLINE)
        raise ConnectionError("no network")

    before = datasets.config.HF_HUB_OFFLINE
    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(InputError, match=r"no file or folder 'owner/name'.*offline was asked for"):
        load_images("owner/name", offline=True)
    assert seen == [True]
    assert datasets.config.HF_HUB_OFFLINE is before


def test_the_missing_library_is_named(monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"pip install 'labelsieve\[datasets\]'"):
        load_images("owner/name")
