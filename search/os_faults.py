"""described: errors of the operating system that the user can mend, in words and with an exit code."""

from __future__ import annotations

import errno

EXIT_OUR_FAULT, EXIT_WRONG_USE = 1, 2
_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)


def described(error: OSError) -> tuple[str, int] | None:
    """What to tell the user about ``error``, and the exit code; None when it is no fault of the disk or of a path."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        mend = "What was written before is whole; free some space and run the same command again."
        return f"The disk is full{where}. {mend}", EXIT_OUR_FAULT
    if error.errno in _PLACE and error.filename:
        words = f"{error.filename} cannot be used: {error.strerror}. Name another place, or mend its permissions."
        return words, EXIT_WRONG_USE
    return None
