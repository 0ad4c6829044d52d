"""The torch modules that tasks are made of (the only room where torch is imported freely)."""
