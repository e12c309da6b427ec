"""An embedded cluster that meets the plugin over HTTP, the process boundary and its socket only."""
