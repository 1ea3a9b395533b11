"""What tests share: example models, model collections, independent oracles. Nothing here is a test."""
