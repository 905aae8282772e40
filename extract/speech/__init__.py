"""Speech to filter banks with the phone of every frame: `python -m extract --speech TIMIT/`."""
