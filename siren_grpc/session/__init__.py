"""The two pure state machines of a stream: what comes in, and what it amounts to."""
