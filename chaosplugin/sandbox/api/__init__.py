"""A Kubernetes API server of one process: the resources, rules and texts that a gate meets.

What it holds is what was measured on a real kube-apiserver 1.34; where the real one does more, a request is
refused rather than answered wrongly.
"""
