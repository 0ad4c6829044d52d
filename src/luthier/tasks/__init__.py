"""Tasks: what differs by task lives here; one file is one task, and its presence is its registration."""
