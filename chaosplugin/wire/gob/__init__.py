"""Gob, Go's encoding of values that describes itself: `Decoder`, `Encoder`, and how to say what is meant.

`shapes` says what a reader wants of what a Go program sends, `gotypes` what a Go program is sent.
"""
