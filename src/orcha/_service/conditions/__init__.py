"""What conditions in text say of the machine, and who looks at it."""
