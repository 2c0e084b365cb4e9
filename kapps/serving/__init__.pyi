from .asking import ask as ask
from .closing import publish_and_close as publish_and_close
from .formats.conversion import (
    convert as convert,
    load_model as load_model,
)
from .formats.inference import publish_for_inference as publish_for_inference
from .formats.quantization import (
    convert_run as convert_run,
    kept_images as kept_images,
)
from .formats.requirements import (
    check_format as check_format,
    check_quantize as check_quantize,
)
from .formats.signatures import convert_signatures as convert_signatures
from .naming import name_pictures as name_pictures
from .prediction import (
    SomeUnreadable as SomeUnreadable,
    load as load,
    predict as predict,
)
from .publishing.again import (
    learnt_of_images as learnt_of_images,
    statistics_of_published as statistics_of_published,
)
from .publishing.classic import (
    export_points as export_points,
    is_points as is_points,
)
from .publishing.documents import (
    export_documents as export_documents,
    is_document as is_document,
)
from .publishing.from_run import publish as publish
from .publishing.generative import (
    export_any as export_any,
    export_generator as export_generator,
    is_generative as is_generative,
)
from .publishing.images import export as export
from .publishing.pictures import (
    export_labels as export_labels,
    export_numbers as export_numbers,
)
from .publishing.series import (
    export_sequences as export_sequences,
    is_sequence as is_sequence,
)
from .publishing.tables import (
    export_table as export_table,
    is_tabular as is_tabular,
    predict_table_file as predict_table_file,
)
from .publishing.text import export_text as export_text
from .savedmodel.card import run_card as run_card
from .savedmodel.endpoints import export_generative as export_generative
from .savedmodel.versions import (
    is_published as is_published,
    prune as prune,
    rollback as rollback,
    version_directory as version_directory,
    versions as versions,
    write_version as write_version,
)
from .server.catalogue import (
    check_root as check_root,
    find_models as find_models,
)
from .speed import (
    bench as bench,
    bench_table as bench_table,
)
