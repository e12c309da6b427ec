"""A stand-in for the controller of Argo Rollouts.

It knows the cluster by HTTP, and the plugin by the process boundary and its socket. What it does is what the
real controller was seen to do (v1.9.1 and v1.10.1), the awkward parts included: Resume on every event of an
AnalysisRun, a second Run from a stale copy, five tries after an Error.
"""
