"""How the ProxylessNAS and Once-for-All authors round the widths that their files do not tell."""

from __future__ import annotations

_SQUEEZE_SHARE = 4
_STEP = 8


def squeezed_width(expand_channels: int) -> int:
    """Channels between the two layers of a squeeze-excite: a quarter, to the multiple of 8 nearest to it that is not
    below 90 % of it."""
    width = expand_channels // _SQUEEZE_SHARE
    rounded = max(_STEP, (width + _STEP // 2) // _STEP * _STEP)
    return rounded + _STEP if rounded * 10 < width * 9 else rounded
