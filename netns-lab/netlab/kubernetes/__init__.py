"""A cluster of the real programs of Kubernetes, on machines of a lab."""
