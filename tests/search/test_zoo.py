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
    "proxyless-mobile": (4_080_512, 320_427_584),
    "proxyless-gpu": (7_119_848, 465_260_160),
    "proxyless-cpu": (4_361_648, 439_243_864),
    "mobilenetv2": (3_504_872, 300_774_272),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_has_exactly_its_parameters_and_macs(name):
    network = build_network(name)
    model = PlainNetwork(network, torch.Generator())
    assert (sum(p.numel() for p in model.parameters()), sum(map(macs, network.ops))) == PUBLISHED[name]


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
