"""Published networks, rebuilt: parameters and multiply-accumulates at 224 pixels as their authors count them."""

from __future__ import annotations

import pytest
import torch

from latency_model.kernels import macs
from search.errors import SpaceError
from search.plain_network import PlainNetwork
from search.spaces.imagenet import imagenet_space
from search.zoo import build_network

PUBLISHED = {
    "proxyless-mobile": (4.08, 320.4),
    "proxyless-gpu": (7.12, 465.3),
    "proxyless-cpu": (4.36, 439.2),
    "mobilenetv2": (3.50, 300.8),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_has_its_parameters_and_macs(name):
    network = build_network(name)
    million_parameters, million_macs = PUBLISHED[name]
    model = PlainNetwork(network, torch.Generator())
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(million_parameters, abs=0.005)
    assert sum(map(macs, network.ops)) / 1e6 == pytest.approx(million_macs, abs=0.05)


def test_the_first_stages_of_the_space_and_of_the_published_network_are_one_outline():
    space, network = imagenet_space(), build_network("proxyless-mobile")
    assert space.stem == network.layers[:2]
    assert space.head == network.layers[-3:]


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(SpaceError, match="Did you mean 'mobilenetv2'"):
        build_network("mobilnetv2")


def test_images_too_small_for_the_zoo_are_refused():
    with pytest.raises(SpaceError, match="too few"):
        build_network("mobilenetv2", (3, 28, 28), 10)
