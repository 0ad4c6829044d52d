"""The stages of the life of a model: prepare, train, evaluate, export, serve, watch."""
