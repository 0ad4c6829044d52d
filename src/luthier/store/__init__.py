"""What is kept: artifacts, blobs, the journal and the database."""
