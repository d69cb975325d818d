"""Siren gRPC: streaming speech recognition with NVIDIA NeMo models behind one gRPC API."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("siren-grpc")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"
