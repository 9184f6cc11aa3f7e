"""Benchmarks of the network part: ``python -m benchmarks net``. See README.md in the folder above."""
