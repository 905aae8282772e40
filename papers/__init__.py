"""The papers as data: how they trained, what they print, what they claim; nothing of ours."""
