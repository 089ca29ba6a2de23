"""LightningModules: model, loss and augmentation tied together."""
