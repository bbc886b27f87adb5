"""The texts that a written network is put together from. Nothing here is run by proxyless itself."""

from __future__ import annotations

CONV_UNIT = '''\
class ConvUnit(nn.Module):
    """Convolution, batch norm, activation."""

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        dilation=1,
        groups=1,
        activation=None,
    ):
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size - 1) // 2,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(out_channels)
        self.activation = activation

    def forward(self, x):
        x = self.bn(self.conv(x))
        return x if self.activation is None else self.activation(x)
'''

SQUEEZE_EXCITE = '''\
class SqueezeExcite(nn.Module):
    """Channel attention: mean over all pixels, two 1x1 convolutions, gate."""

    def __init__(self, channels, squeeze, activation=F.relu, gate=F.hardsigmoid):
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeeze, 1)
        self.expand = nn.Conv2d(squeeze, channels, 1)
        self.activation = activation
        self.gate = gate

    def forward(self, x):
        scale = self.activation(self.reduce(x.mean((2, 3), keepdim=True)))
        return x * self.gate(self.expand(scale))
'''

MBCONV = '''\
class MBConv(nn.Module):
    """Mobile inverted bottleneck: 1x1 expansion, depthwise k x k, 1x1 projection."""

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        expand,
        stride=1,
        squeeze=None,
        residual=False,
        activation=None,
    ):
        super().__init__()
        self.residual = residual
        self.expand = None
        if expand != in_channels:
            self.expand = ConvUnit(in_channels, expand, 1, activation=activation)
        self.depthwise = ConvUnit(
            expand, expand, kernel_size, stride, groups=expand, activation=activation
        )
        self.squeeze = None if squeeze is None else SqueezeExcite(expand, squeeze)
        self.project = ConvUnit(expand, out_channels, 1)

    def forward(self, x):
        y = x if self.expand is None else self.expand(x)
        y = self.depthwise(y)
        y = y if self.squeeze is None else self.squeeze(y)
        y = self.project(y)
        return y + x if self.residual else y
'''

FUSED_MBCONV = '''\
class FusedMBConv(nn.Module):
    """Fused inverted block: k x k expansion, 1x1 projection."""

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        expand,
        stride=1,
        squeeze=None,
        residual=False,
        activation=None,
    ):
        super().__init__()
        self.residual = residual
        self.fused = ConvUnit(
            in_channels, expand, kernel_size, stride, activation=activation
        )
        self.squeeze = None if squeeze is None else SqueezeExcite(expand, squeeze)
        self.project = ConvUnit(expand, out_channels, 1)

    def forward(self, x):
        y = self.fused(x)
        y = y if self.squeeze is None else self.squeeze(y)
        y = self.project(y)
        return y + x if self.residual else y
'''

SEPARABLE_CONV = '''\
class SeparableConv(nn.Module):
    """Depthwise convolution, then a 1x1 one."""

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        dilation=1,
        activation=None,
    ):
        super().__init__()
        self.depthwise = ConvUnit(
            in_channels, in_channels, kernel_size, stride, dilation, groups=in_channels
        )
        self.pointwise = ConvUnit(in_channels, out_channels, 1, activation=activation)

    def forward(self, x):
        return self.pointwise(self.depthwise(x))
'''

LOADING = '''\
WEIGHTS = Path(__file__).with_suffix(".safetensors")


def preprocess(images):
    """(pixel / 255 - mean) / std of each channel, for uint8 images (n, c, h, w)."""
    mean, std = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (MEAN, STD))
    return (images.float() / 255 - mean) / std


def read_safetensors(path):
    """The float tensors of a safetensors file: a JSON header, then their bytes."""
    content = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        numbers = torch.frombuffer(content[begin:end], dtype=torch.float32)
        tensors[name] = numbers.reshape(entry["shape"])
    return tensors


def load(path=WEIGHTS):
    """The trained network, ready to classify."""
    model = TITLE()
    state = read_safetensors(path)
    missing, unknown = model.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unknown:
        raise ValueError(f"{path} does not fit: missing {missing}, unknown {unknown}")
    return model.eval()


if __name__ == "__main__":
    model = load()
    count = sum(parameter.numel() for parameter in model.parameters())
    with torch.no_grad():
        logits = model(preprocess(torch.zeros(1, *IMAGE_SHAPE, dtype=torch.uint8)))
    print(f"{count:,} parameters; a black image is {CLASS_NAMES[int(logits.argmax())]}")
'''
