"""Data that a function of the user's returns."""

import random

import numpy as np
import pytest
import torch

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

def shuffled():
    return DataLoader(TensorDataset(images, labels), batch_size=8, shuffle=True)

def changed_at_random():
    import random
    import numpy as np
    darker = images * torch.rand(20, 1, 1, 1) * float(np.random.rand()) * random.random()
    return (darker, labels), None

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


def test_a_function_may_return_one_data_loader_from_which_a_test_part_is_carved(user_module):
    data = load_dataset(f"{user_module}:shuffled")

    check_invariants(data)
    assert (len(data.train_labels), len(data.test_labels)) == (16, 4)


@pytest.mark.parametrize("function", ["shuffled", "changed_at_random"])
def test_what_a_function_draws_at_random_is_the_same_each_time_and_disturbs_no_other_draws(user_module, function):
    hashes, others = [], []
    for seed in (1, 2):
        draw_seeds(seed)
        hashes.append(load_dataset(f"{user_module}:{function}").hash)
        others.append(draw())
        draw_seeds(seed)
        assert others[-1] == draw()
    assert hashes[0] == hashes[1]


def draw_seeds(seed):
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - as a user's function may draw
    random.seed(seed)


def draw():
    return float(torch.rand(())), float(np.random.rand()), random.random()  # noqa: NPY002 - see above


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("single", "must return"),
        ("empty", "gave no batches"),
        ("absent", "has no function 'absent'"),
        ("broken", r"failed with KeyError: 'train' \(.*my_images\.py, line 29\)"),
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
