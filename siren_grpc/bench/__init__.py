"""Benchmarks: `siren bench engine`, `siren bench server`, `siren bench long`.

Pure logic (statistics, schedule, attribution, ramp) knows neither gRPC nor torch; the engine is
reached through `engine_adapter` and `siren_contestants` only.
"""
