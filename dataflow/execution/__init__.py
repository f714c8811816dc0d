"""What one task does: read its input, run its steps, fill its leaves. The same on every runner."""
