"""What a call does to its arguments, read from the callee's source: for wrapped functions and opaque modules."""
