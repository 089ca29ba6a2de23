"""Training songs made of openly licensed material."""
