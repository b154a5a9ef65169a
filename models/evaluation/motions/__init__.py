"""The motions that are compared: real clips, generated ones, and draws of the same mix."""
