"""ReLIC: pre-training a feature network without labels, and a regulariser on the separator."""
