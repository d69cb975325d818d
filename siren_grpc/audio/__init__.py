"""From the client's bytes to the model's chunks of samples."""
