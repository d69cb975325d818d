"""Endurance: `siren soak churn` and `siren soak stream`.

Pure logic (flatness, known_words, timeline) knows neither gRPC nor processes.
"""
