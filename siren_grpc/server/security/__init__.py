"""Who may call: tokens, JWTs, TLS, and what a principal is granted."""
