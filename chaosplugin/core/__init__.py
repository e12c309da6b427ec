"""The domain: what a gate is, whom it may hit, how it is judged. No I/O, no clock, no loop."""
