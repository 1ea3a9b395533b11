"""What a value capture knows of each value without computing it, and what it relies on."""
