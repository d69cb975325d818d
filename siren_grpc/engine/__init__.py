"""The threads: one stepper per model between asyncio sessions and the pure scheduler."""
