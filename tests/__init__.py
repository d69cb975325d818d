"""Tests of Siren gRPC. A package, so that no installed `tests` stands in front of it."""
