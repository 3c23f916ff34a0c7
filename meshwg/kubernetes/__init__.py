"""A mesh as the network of a Kubernetes cluster: what follows from its Node objects."""
