"""What every test shares: one thread for numerical libraries, so that tests side by side do not fight."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder of public data (shared/data beside the checkout) is not there")
    return SHARED_DATA
