"""What is timed: `python -m benchmarks` runs all of it and writes one table."""
