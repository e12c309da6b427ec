"""The gRPC API of proto/: its server, and what its clients need. The plugin mode imports none of it."""
