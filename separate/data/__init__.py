"""Training and validation songs."""
