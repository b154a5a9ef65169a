"""A campaign against what posegpt reads and writes: damaged inputs, kills, full disks, two writers at once.

Not a part of the tests: `make campaign MINUTES=30` runs it and prints a table. What it finds becomes a small
test in tests/hostile.
"""
