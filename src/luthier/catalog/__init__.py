"""Models and data sets that one can start from: cards as data."""
