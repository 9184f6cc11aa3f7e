"""Differential tests: random programs must leave the same trace on asyncio and on asyncio_c."""
