"""Endurance: `siren soak churn` and `siren soak stream`.

Pure logic (flatness, known_words, script) knows neither gRPC nor processes.
"""
