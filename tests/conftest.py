"""What every test shares: one thread for numerical libraries (tests side by side do not fight), data, a browser."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.browser import Browser

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background jobs ignore Ctrl-C, and what they start inherits that; tests interrupt hosts and agents.
    signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example takes says how busy this machine is, and nothing of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def own_device_lock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """This machine, as a device, is locked for these tests alone: side by side, they do not wait for each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROXYLESS_LOCK_DIRECTORY", str(tmp_path_factory.mktemp("locks")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder of public data (shared/data beside the checkout) is not there")
    return SHARED_DATA


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    program = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("neither chromium nor google-chrome is installed (tests/search/setup_system.sh installs it)")
    return Browser(program, tmp_path_factory.mktemp("browser"))
