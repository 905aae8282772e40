"""Where the time of an answer goes, stage by stage beside the stage's own limit."""
