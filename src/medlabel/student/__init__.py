"""The student: a small network that learns from the teacher's labels."""
