"""Where events go while a run works; one file is one sink."""
