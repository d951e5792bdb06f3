"""What is written to a chip: plain data with samna's field names, and the way to samna and back."""
