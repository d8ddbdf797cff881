"""Long work over lists of videos that can be killed and goes on: check, prepare, predict, extract, evaluate."""
