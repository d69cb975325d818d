"""NeMo models as backends of the engine: the only place that knows torch and NeMo."""
