"""Keeps a runtime's own chatter from the user: LiteRT tells of its delegate on standard error and cannot be asked not
to (its logger has no way to set the least severity)."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

STANDARD_ERROR = 2
CHATTER = (b"INFO:", b"I0000 ")


@contextmanager
def without_chatter() -> Iterator[None]:
    """Hold back what native code writes to standard error inside; warnings and errors come out at the end."""
    sys.stderr.flush()
    kept = os.dup(STANDARD_ERROR)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), STANDARD_ERROR)
        try:
            yield
        finally:
            os.dup2(kept, STANDARD_ERROR)
            os.close(kept)
            said.seek(0)
            for line in said:
                if not line.startswith(CHATTER):
                    os.write(STANDARD_ERROR, line)
