"""Transforms of waveforms before mixing."""
