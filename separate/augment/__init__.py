"""What is done to sound in training: to waveforms before they are mixed, and to spectrograms for ReLIC's views."""
