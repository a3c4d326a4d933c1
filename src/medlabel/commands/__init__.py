"""The commands: each one's options beside what it calls."""
