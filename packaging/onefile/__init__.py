"""Builds the one file: a launcher, and behind it CPython, its libraries and the plugin, for each CPU."""
