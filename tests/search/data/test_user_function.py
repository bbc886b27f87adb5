"""Data that a function of the user's returns."""

import pytest

from search.data import DataError, load_dataset
from tests.search.data.image_files import check_invariants

FUNCTIONS = """
import torch
from torch.utils.data import DataLoader, TensorDataset

images, labels = torch.rand(20, 3, 6, 6), torch.arange(20) % 2

def tensors():
    return (images, labels), (images[:4], labels[:4])

def loaders():
    return DataLoader(TensorDataset(images, labels), batch_size=8), None

def single():
    return images

def empty():
    return [], None

def broken():
    return {}["train"]

def pictures():
    from PIL import Image
    return [([Image.new("RGB", (8, 8))] * 4, [0, 1, 0, 1])], None
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    (tmp_path / "my_images.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    yield "my_images"


def test_a_function_may_return_tensors(user_module):
    data = load_dataset(f"{user_module}:tensors")

    check_invariants(data)
    assert (len(data.train_labels), len(data.test_labels)) == (20, 4)


def test_a_function_may_return_data_loaders_without_a_test_part(user_module):
    data = load_dataset(f"{user_module}:loaders")

    check_invariants(data)
    assert len(data.train_labels) + len(data.test_labels) == 20


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("single", "must return"),
        ("empty", "gave no batches"),
        ("absent", "has no function 'absent'"),
        ("broken", r"failed with KeyError: 'train' \(.*my_images\.py, line 20\)"),
        ("pictures", "pil_to_tensor"),
    ],
)
def test_a_function_that_does_not_fit_is_explained(user_module, function, message):
    with pytest.raises(DataError, match=message):
        load_dataset(f"{user_module}:{function}")


def test_a_module_with_a_mistake_is_explained_with_its_line(tmp_path, monkeypatch):
    (tmp_path / "mistaken_images.py").write_text("images = 1\ndef (:\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"failed with SyntaxError: .*mistaken_images\.py, line 2"):
        load_dataset("mistaken_images:load")


def test_a_module_that_is_not_there_is_explained():
    with pytest.raises(DataError, match="Cannot import 'no_such_module_here'"):
        load_dataset("no_such_module_here:load")
