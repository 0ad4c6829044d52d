"""serve: answers examples from an exported folder, without torch and without HTTP; ``api`` is the door in front of it."""
