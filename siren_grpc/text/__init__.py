"""From token ids to text, incrementally."""
