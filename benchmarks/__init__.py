"""Benchmarks of asyncio_c against asyncio and uvloop: ``python -m benchmarks core``. See README.md in this folder."""
