"""Endurance: `siren soak churn` and `siren soak stream`.

Pure logic (flatness, known_words, long_stream_audit, process_counts, timeline, word_audit) knows
neither gRPC nor how processes are measured.
"""
