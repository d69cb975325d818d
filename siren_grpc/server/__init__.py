"""The gRPC service: the only place of the server that knows gRPC."""
