"""Runnable experiments: LightningCLI configurations, and what builds their data."""
