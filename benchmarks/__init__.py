"""What fxpasses costs, beside what torchvision, bare tracing and hand-written code cost; `python -m benchmarks`."""
