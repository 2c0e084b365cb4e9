from .classic.points import (
    FUNCTIONS as FUNCTIONS,
    POINT_SETS as POINT_SETS,
    PointData as PointData,
    load_function as load_function,
    load_points as load_points,
    load_xor as load_xor,
    only_classes as only_classes,
)
from .fingerprint import quick_fingerprint as quick_fingerprint
from .images.audit import (
    describe as describe,
    describe_text as describe_text,
)
from .images.augmentation import (
    Augmentation as Augmentation,
    OwnAugmentation as OwnAugmentation,
)
from .images.binarization import binarized as binarized
from .images.dataset import (
    ImageData as ImageData,
    Split as Split,
    with_validation as with_validation,
    without_class as without_class,
)
from .images.files.decode import Reading as Reading
from .images.files.index import clean as clean
from .images.loading import (
    load as load,
    load_as_configured as load_as_configured,
    prepare as prepare,
)
from .images.near_duplicates import (
    near_duplicates as near_duplicates,
    twins_in_train as twins_in_train,
)
from .images.statistics import (
    class_weights as class_weights,
    mean_image as mean_image,
    pixel_statistics as pixel_statistics,
)
from .images.whitening import whitening_kernel as whitening_kernel
from .pipeline import (
    FullBatches as FullBatches,
    IndexedBatches as IndexedBatches,
    TrainingBatches as TrainingBatches,
    classification_targets as classification_targets,
    evaluation_batches as evaluation_batches,
    smooth as smooth,
    without_autotune as without_autotune,
)
from .series.augmentation import SeriesAugmentation as SeriesAugmentation
from .series.files import (
    PACKAGED_SERIES as PACKAGED_SERIES,
    packaged_path as packaged_path,
)
from .series.loading import (
    SequenceData as SequenceData,
    SequenceSplit as SequenceSplit,
    load_sequences as load_sequences,
    memory_task as memory_task,
    sequence_statistics as sequence_statistics,
)
from .spec import (
    PICTURES as PICTURES,
    check as check,
    parse as parse,
)
from .split import folds as folds
from .tables.bins import bin_edges as bin_edges, number_bins as number_bins
from .tables.cells import MISSING as MISSING
from .tables.describing import (
    describe_table as describe_table,
    describe_table_text as describe_table_text,
)
from .tables.loading import (
    TableData as TableData,
    TableSplit as TableSplit,
    load_table as load_table,
)
from .tables.source import (
    TABLES as TABLES,
    check_target as check_target,
)
from .text.documents import (
    DOCUMENTS as DOCUMENTS,
    DocumentData as DocumentData,
    DocumentSplit as DocumentSplit,
    check_documents as check_documents,
    load_documents as load_documents,
)
from .text.loading import (
    TextData as TextData,
    TextLanes as TextLanes,
    load_text as load_text,
    text_stream as text_stream,
    text_stretches as text_stretches,
)
