"""The tracer under both traced captures, and what it notices while it traces."""
