from types import ModuleType

import pytest
import torch


def test_the_network_learns_as_with_the_reference(digits_example: ModuleType) -> None:
    kernel = digits_example.train(digits_example.vrelu3.nnModule)
    reference = digits_example.train(digits_example.Relu3Reference())
    assert kernel.losses == pytest.approx(reference.losses, rel=1e-2, abs=1e-3)
    assert kernel.losses[0] == pytest.approx(reference.losses[0], rel=1e-5)
    assert kernel.losses[-1] < 0.1
    assert kernel.accuracy > 0.95
    assert reference.accuracy > 0.95


def test_training_leaves_global_state_alone(digits_example: ModuleType) -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    digits_example.train(torch.nn.ReLU(), epochs=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_the_data_is_split_the_same_way_each_time(digits_example: ModuleType) -> None:
    first, second = digits_example.load_data(), digits_example.load_data()
    assert torch.equal(first.test_labels, second.test_labels)
    assert len(first.train_labels) + len(first.test_labels) == 1797
    assert first.train_images.shape == (1438, 64)
    assert first.train_images.min() == 0.0
    assert first.train_images.max() == 1.0
