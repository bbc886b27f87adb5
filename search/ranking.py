"""What networks are ranked by: their held-out losses, corrected by similar networks and by the logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search.smoothing import DIGITS, smoothed_losses
from search.space import Choices

LOGIT_VOICE = 0.3
"""How many standard deviations of the losses one standard deviation of log probability is worth. With anything from 0.2
to 1 better networks are derived than with 0 (search/README.md, "How good the networks are")."""


def ranked_losses(
    choices: Sequence[Choices], losses: Sequence[float], log_probabilities: Sequence[float]
) -> NDArray[np.float64]:
    """Each network's loss as similar networks see it, less what its logits speak for it, in the losses' unit.

    The last weights misjudge networks in their own way. The logits have compared paths with the weights of all steps,
    and so err otherwise: a network that only one of the two prefers is rather one that was misjudged. The logits' part
    has mean 0, and is 0 where they prefer nothing.

    Args:
        choices: (n) networks of one space, none twice.
        losses: (n) what each was judged to lose.
        log_probabilities: (n) of each network under the logits.
    """
    smoothed = smoothed_losses(choices, losses)
    probable = np.asarray(log_probabilities, dtype=np.float64)
    spread = np.round(probable.std(), DIGITS)
    if spread == 0:
        return smoothed
    voice = LOGIT_VOICE * np.std(losses) * (probable - probable.mean()) / spread
    ranked: NDArray[np.float64] = np.round(smoothed - voice, DIGITS)
    return ranked
