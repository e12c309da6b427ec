"""What the plugin says of itself. Only this package knows log formats and telemetry back ends."""
