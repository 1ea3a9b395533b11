"""The passes, one a file; none knows another."""
