"""What there is: files found, listed, inspected, and accounted for."""
