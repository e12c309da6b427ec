"""Chaos Mesh as a gate meets it: its kinds' schemas, its admission webhooks, its controller.

Measured on chaos-controller-manager of 2026-09-02; the core of it is the same from 2.6.3 on.
"""
