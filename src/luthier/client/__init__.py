"""The service over HTTP (knows core only)."""
