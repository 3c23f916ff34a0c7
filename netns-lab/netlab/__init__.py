"""An internet of NATs in network namespaces."""
