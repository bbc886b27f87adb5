"""The steps of a run, each resumable by itself: profile, fit, search, derive, train, export, verify, report."""
