"""Cleaning: planted feet and hands that stay where they are, soles on the floor, quiet rest."""
