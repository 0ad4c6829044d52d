"""Where a job runs; one file is one executor."""
