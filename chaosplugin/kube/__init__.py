"""Cluster side: requests to and watches of Kubernetes API servers."""
