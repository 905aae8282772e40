"""The feature store: a folder of HDF5 shards, an index through which they read as one file.

Every shard is written as `*.part` and renamed when it is whole, so a kill loses only the shard
being written. `index.h5` links to the clips in the shards and appears when all of them are there.
"""

from pipeline.features.files import (
    INDEX,
    SPEC,
    claim_store,
    read_index,
    read_shard,
    read_spec,
    write_index,
)
from pipeline.features.origins import (
    check_encoder,
    name_encoder,
    read_videos_place,
    read_weights_place,
    write_videos_place,
    write_weights_place,
)
from pipeline.features.spec import (
    DAMAGED,
    INT8,
    INT8_FILE,
    SPEECH,
    TRUNCATED,
    WHOLE,
    ClipRecord,
    Failure,
    FeatureSpec,
    join_labels,
    split_labels,
)
from pipeline.features.store import FeatureStore
from pipeline.features.verify import ShardCheck, check_index, check_shard
from pipeline.features.writers import FeatureWriter, ShardWriter

__all__ = [
    "DAMAGED",
    "INDEX",
    "INT8",
    "INT8_FILE",
    "SPEC",
    "SPEECH",
    "TRUNCATED",
    "WHOLE",
    "ClipRecord",
    "Failure",
    "FeatureSpec",
    "FeatureStore",
    "FeatureWriter",
    "ShardCheck",
    "ShardWriter",
    "check_encoder",
    "check_index",
    "check_shard",
    "claim_store",
    "join_labels",
    "name_encoder",
    "read_index",
    "read_shard",
    "read_spec",
    "read_videos_place",
    "read_weights_place",
    "split_labels",
    "write_index",
    "write_videos_place",
    "write_weights_place",
]
