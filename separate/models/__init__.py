"""Networks: pure modules, tensors in and tensors out; no files, no training."""
