"""Host side: sockets, sessions and calls of go-plugin hosts, bound to the provider."""
