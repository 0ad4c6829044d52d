"""Planning, runs, endpoints; service.py holds every use case and is the only writer of state."""
