"""Training losses: modules on spectra, tensors in, a scalar out."""
