"""One description, three forms: a network as a torch function, a TFLite file and an ONNX file."""

from latency_model.lowering.weights import Weights, network_weight_shapes, random_weights

__all__ = ["Weights", "network_weight_shapes", "random_weights"]
