"""File formats that prepare reads; one file is one format."""
