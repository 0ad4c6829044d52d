"""What runs an exported graph; one file is one runtime."""
