"""What every test shares: one thread for numerical libraries, so that tests side by side do not fight."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
