"""A real cluster: Kubernetes, three NATs, and meshwg between its pods and its nodes."""
