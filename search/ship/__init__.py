"""From a derived network to a shipped one: the verbs that train, export, time and compare."""
