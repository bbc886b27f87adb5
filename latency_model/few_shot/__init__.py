"""A new device from a few whole networks, with what other devices taught."""
