"""Performs what the core decides, over the ports it owns."""
