"""Every setting of the server, typed, in a file for each thing that settings are about."""
