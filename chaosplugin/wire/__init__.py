"""Sans-IO protocols of a go-plugin process: bytes in, events out. Standard library only."""
