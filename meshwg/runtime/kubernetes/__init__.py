"""A node of a Kubernetes cluster: its API server, its files, its rules.

Nothing here is imported by a node outside of a cluster.
"""
