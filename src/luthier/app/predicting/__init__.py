"""A file of any size scored by an endpoint: read as a stream, answered in batches, kept in parts, so that a killed run goes on."""
