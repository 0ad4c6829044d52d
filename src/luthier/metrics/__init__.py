"""Metrics: one file computes one family of scores from references and predictions."""
