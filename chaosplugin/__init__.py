"""A metric provider plugin for Argo Rollouts: a canary passes when it survives a Chaos Mesh fault."""

__version__ = "0.1.0"
