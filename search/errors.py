"""What can go wrong in a search, in words that tell how to mend it."""

from profiler_agent.errors import ProxylessError


class SpaceError(ProxylessError, ValueError):
    """A search space, or a choice in it, that makes no network."""


class TargetError(ProxylessError, ValueError):
    """A latency target that is no number, or out of the space's reach."""


class RunFolderError(ProxylessError, ValueError):
    """A run folder that lacks a step, or belongs to another run."""


class CheckpointError(ProxylessError, ValueError):
    """A checkpoint that does not fit the search that wants to resume it."""


class TrainingDiverged(ProxylessError, FloatingPointError):
    """A loss that is no number any more."""

    exit_code = 1


class TrainingFailed(ProxylessError):
    """A process that trained a network ended otherwise than by finishing; ``exit_code`` is that of its own error."""

    def __init__(self, message: str, returned: int) -> None:
        super().__init__(message)
        self.exit_code = returned if returned > 0 else 1


class RestartsWouldHang(ProxylessError, ValueError):
    """``torchrun`` was told to restart workers in the way in which restarted workers hang."""


class WorkersDiffer(ProxylessError, ValueError):
    """Workers of one search that were given different images, spaces, settings or budgets."""


class WorkersWouldRace(ProxylessError, ValueError):
    """``torchrun`` started a verb that does not share its work, so that each worker would do all of it."""


class TooFewGpus(ProxylessError, ValueError):
    """More workers on a machine than it has GPUs."""


class ExportError(ProxylessError):
    """An exported file that does not compute what the trained network computes."""

    exit_code = 1


class BudgetMissed(ProxylessError):
    """The measured latency is above the budget."""

    exit_code = 4
