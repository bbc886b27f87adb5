"""The texts inside an exported file: which network it holds, and how pixels become its inputs."""

from __future__ import annotations

import json
from pathlib import Path

from latency_model.lowering import read_metadata
from latency_model.network import NetworkSpec, network_from_json, network_to_json
from search.batches import SplitData
from search.errors import RunFolderError
from search.plain_source import ImageFacts

NETWORK = "proxyless.network"
CHANNELS = {1: "grey", 3: "RGB (of images that came as arrays: as they came)"}
LAYOUTS = {".onnx": "NCHW", ".tflite": "NHWC"}


def image_facts(data: SplitData) -> ImageFacts:
    """Mean and deviation with all digits that single precision has: with six, logits differ by 2e-6 of the largest."""
    mean, std = (tuple(float(str(value)) for value in values.numpy()) for values in (data.mean, data.std))
    channel_count, height, width = data.data.image_shape
    resize = "none, all images of the training had this one"
    if height == width:  # see search.data.image_data: an image size makes squares
        resize = f"cut the centred square, scale it to {width}x{height} (bilinear, antialiased)"
    return ImageFacts(
        class_names=tuple(data.data.class_names), mean=mean, std=std, channels=CHANNELS[channel_count], resize=resize
    )


def preprocessing(data: SplitData) -> dict[str, str]:
    """What a user of the file must know: classes, and how pixels become inputs."""
    facts = image_facts(data)
    return {
        "proxyless.class_names": json.dumps(facts.class_names),
        "proxyless.image_shape_chw": json.dumps(list(data.data.image_shape)),
        "proxyless.channels": facts.channels,
        "proxyless.resize": facts.resize,
        "proxyless.mean": json.dumps(facts.mean),
        "proxyless.std": json.dumps(facts.std),
        "proxyless.normalisation": "(pixel / 255 - mean) / std, per channel",
    }


def network_metadata(network: NetworkSpec, suffix: str) -> dict[str, str]:
    """The layers with their numbers, so that a timing of the file is never taken for that of another network; and how
    the input of such a file lies in memory."""
    return {"proxyless.layout": LAYOUTS[suffix], NETWORK: json.dumps(network_to_json(network), separators=(",", ":"))}


def network_in_file(path: Path) -> NetworkSpec:
    """The network that an exported file says it holds, in the numbers that it holds it in.

    Raises:
        RunFolderError: no such file, or it does not say.
    """
    if not path.is_file():
        raise RunFolderError(f"{path} is not there; give an exported file, such as RUN/export/derived.onnx.")
    if path.suffix == ".pt":
        raise RunFolderError(
            f"{path} is a TorchScript file, which does not say what network it holds: time it without --predictor, "
            f"--network and --measurements. proxyless verify RUN predicts a run's own, and keeps their timings."
        )
    text = read_metadata(path).get(NETWORK)
    if text is None:
        raise RunFolderError(
            f"{path} does not say which network it holds, so no prediction and no set of measurements can be joined to "
            f"it: it was written by another program or by an earlier version. Export it again (proxyless export RUN), "
            f"or time it without --predictor, --network and --measurements."
        )
    return network_from_json(json.loads(text))
