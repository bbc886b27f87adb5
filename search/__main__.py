"""``python -m search``: the same as the ``proxyless`` command."""

from search.cli import main

main()
