"""The generator as a service: jobs, the passes that they share, and the thread that makes them."""
