"""Who is advanced next, and who may start."""
